import { html, render } from '/lib/lit-html/lit-html.js'

/**
 * Asks before something is removed. By keyboard it is left with Escape.
 *
 * @param {import('/lib/lit-html/lit-html.js').TemplateResult} question
 * @param {string} what - What the button says that does it.
 * @returns {Promise<boolean>}
 */
export function confirm(question, what) {
  const dialog = document.createElement('dialog')
  dialog.setAttribute('aria-labelledby', 'question')
  const choose = choice => () => dialog.close(choice)
  render(
    html`<h2 id="question">${question}</h2>
      <div class="row">
        <button type="button" @click=${choose('')}>Keep</button>
        <button type="button" class="danger" @click=${choose('yes')}>${what}</button>
      </div>`,
    dialog,
  )
  document.body.append(dialog)
  dialog.showModal()
  return new Promise(resolve => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve(dialog.returnValue === 'yes')
    })
  })
}
