// Buttons and links of the page's own markup. A button says in data-act what it wants and in data-id
// of which job; the page's handlers do it. Runs once in each component that has such buttons.
const EVENTS = ['open_job', 'run_again', 'cancel_job', 'delete_job', 'turn_page', 'drop_source'];
const LIST_MS = 3000;

element.addEventListener('click', (event) => {
  const asked = event.target.closest('[data-act], [data-copy]');
  if (!asked || !element.contains(asked)) return;
  const act = asked.dataset.act;
  if (asked.dataset.copy) {
    copy(asked);
    return;
  }
  if (!EVENTS.includes(act)) return;
  // A link opens in a new tab as links do.
  if (asked.tagName === 'A') {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
  }
  if (act === 'delete_job' && !confirm(
    `Delete “${asked.dataset.name}” with its recording and subtitles?`)) return;
  trigger(act, {id: asked.dataset.id});
  if (act === 'open_job' || act === 'run_again') window.scrollTo({top: 0});
});

async function copy(button) {
  const link = new URL(button.dataset.copy, document.baseURI).href;
  const worked = await written(link);
  const label = button.textContent;
  button.textContent = worked ? 'Copied' : 'Copy it from the address bar';
  setTimeout(() => { button.textContent = label; }, 2000);
}

async function written(words) {
  try {
    await navigator.clipboard.writeText(words);
    return true;
  } catch {
    // Not allowed, or not there without https: the old way.
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

// The list shows what runs: it is asked for again while somebody looks at it.
if (element.closest('#job-list')) {
  setInterval(() => {
    const seen = element.offsetParent !== null && !document.hidden;
    if (seen && !document.documentElement.dataset.away) trigger('refresh_list');
  }, LIST_MS);
}
