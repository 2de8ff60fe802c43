// The player and the list of cues, kept in step. Runs once in each of the two HTML components;
// what they show is exchanged under them, so everything is found anew at every event.
const root = element.closest('.results') || document;
const player = () => root.querySelector('video');

element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-start]');
  const video = player();
  if (!button || !video) return;
  video.currentTime = Number(button.dataset.start);
  // A browser may refuse to play; the position is set all the same.
  video.play().catch(() => {});
});

// Media events do not bubble: listen on the way down.
element.addEventListener('timeupdate', (event) => {
  const rows = [...root.querySelectorAll('.cues li')];
  const now = event.target.currentTime + 0.01;
  const started = rows.filter((row) => Number(row.querySelector('button').dataset.start) <= now);
  const current = started.at(-1);
  rows.forEach((row) => row.removeAttribute('aria-current'));
  current?.setAttribute('aria-current', 'true');
  if (current && !event.target.paused) {
    const list = current.parentElement;
    list.scrollTop = current.offsetTop - list.offsetTop - list.clientHeight / 3;
  }
}, true);

element.addEventListener('error', (event) => {
  if (event.target.tagName !== 'VIDEO') return;
  event.target.hidden = true;
  const note = element.querySelector('.note');
  if (note) note.hidden = false;
}, true);

// Without a picture browsers draw a bar for sound, some without captions over it: write them here.
element.addEventListener('loadedmetadata', (event) => {
  const video = event.target;
  const [track, stage] = [video.textTracks[0], video.parentElement];
  const caption = stage.querySelector('.caption');
  const soundOnly = video.videoHeight === 0;
  stage.classList.toggle('sound-only', soundOnly);
  caption.textContent = '';
  if (!track) return;
  track.mode = soundOnly ? 'hidden' : 'showing';
  track.oncuechange = () => {
    const lines = [...track.activeCues].map((cue) => cue.getCueAsHTML().textContent);
    caption.textContent = soundOnly ? lines.join('\n') : '';
  };
}, true);
