// Copies what a button names: data-copy holds the text, data-copy-link a link of this app, and
// data-copy-from the field that has the text. Where the page may not write to the clipboard (no https),
// the old way; where that fails too, the button says what is left.
element.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy], [data-copy-link], [data-copy-from]');
  if (!button || !element.contains(button)) return;
  const { copy, copyLink, copyFrom } = button.dataset;
  const field = copyFrom ? element.querySelector(copyFrom) : null;
  const words = field ? field.value : copyLink ? new URL(copyLink, document.baseURI).href : copy;
  const worked = await copied(words, field);
  const label = button.dataset.label ||= button.textContent;
  const left = field ? 'Press Ctrl+C' : copyLink ? 'Copy it from the address bar' : 'Select it';
  button.textContent = worked ? 'Copied' : left;
  setTimeout(() => { button.textContent = label; }, 2500);
});

async function copied(words, shown) {
  try {
    await navigator.clipboard.writeText(words);
    return true;
  } catch {
    if (shown) {
      shown.closest('details').open = true;
      shown.focus();
      shown.select();
      return document.execCommand('copy');
    }
    const field = document.createElement('textarea');
    field.value = words;
    field.setAttribute('readonly', '');
    field.style.cssText = 'position: fixed; opacity: 0';
    document.body.append(field);
    field.select();
    const worked = document.execCommand('copy');
    field.remove();
    return worked;
  }
}
