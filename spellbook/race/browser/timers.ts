/** Runs it when all promise jobs have run: a message to oneself, as no timer of a browser is as quick. */
export function setImmediate(run: () => void): void {
  const { port1, port2 } = new MessageChannel()
  port1.addEventListener('message', () => {
    port1.close()
    run()
  })
  port1.start()
  port2.postMessage(undefined)
}
