const said = /** @type {HTMLElement} */ (document.getElementById('said'))
/** @type {ReturnType<typeof setTimeout> | undefined} */
let pending

/**
 * Tells a screen reader what has just happened. Of what is said in quick succession only the last is told, so that one
 * act of the visitor is followed by one sentence.
 *
 * @param {string} sentence
 */
export function say(sentence) {
  clearTimeout(pending)
  pending = setTimeout(() => {
    said.textContent = sentence
  }, 250)
}
