// Buttons and links of the page's own markup. A button says in data-act what it wants and in data-id
// of which job; the page's handlers do it. Runs once in each component that has such buttons.
const EVENTS = ['open_job', 'run_again', 'cancel_job', 'delete_job', 'turn_page', 'drop_source'];
const LIST_MS = 3000;

element.addEventListener('click', (event) => {
  const asked = event.target.closest('[data-act]');
  if (!asked || !element.contains(asked)) return;
  const act = asked.dataset.act;
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

// The list shows what runs: it is asked for again while somebody looks at it.
if (element.closest('#job-list')) {
  setInterval(() => {
    const seen = element.offsetParent !== null && !document.hidden;
    if (seen && !document.documentElement.dataset.away) trigger('refresh_list');
  }, LIST_MS);
}
