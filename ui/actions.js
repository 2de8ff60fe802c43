// Buttons and links of the page's own markup. A button says in data-act what it wants and in data-id
// of which job or endpoint; the page's handlers do it. Runs once in each component that has such buttons.
const EVENTS = ['open_job', 'run_again', 'cancel_job', 'delete_job', 'turn_page', 'drop_source',
  'edit_endpoint', 'activate_endpoint', 'deactivate_endpoint', 'default_endpoint',
  'test_endpoint', 'delete_endpoint'];
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
  if (act === 'delete_endpoint' && !confirm(
    `Delete “${asked.dataset.name}”? What it decodes now goes on elsewhere.`)) return;
  trigger(act, {id: asked.dataset.id});
  if (act === 'open_job' || act === 'run_again') window.scrollTo({top: 0});
});

// Both lists show what runs: they are asked for again while somebody looks at them.
const refresh = element.closest('#job-list') ? 'refresh_list'
  : element.closest('#endpoint-list') ? 'refresh_endpoints' : null;
if (refresh) {
  setInterval(() => {
    const seen = element.offsetParent !== null && !document.hidden;
    if (seen && !document.documentElement.dataset.away) trigger(refresh);
  }, LIST_MS);
}
