"""Speech endpoints as markup: the table, and what the last test of each found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from urllib.parse import urlsplit

from jobs.endpoint_rows import EndpointRow, KeptCheck, KeptTest
from ui.markup import action, problem_text, text, time, with_commands

PROTOCOLS = {"openai": "OpenAI", "asr": "whisper-asr-webservice", "funasr": "FunASR"}

HEADS = ("Name", "Address", "Protocol", "Model", "State", "Default", "Key", "Last test")

_MARKS = {
    "ok": ("finding-ok", "✓", "Fine"),
    "warning": ("finding-warning", "!", "Warning"),
    "failed": ("finding-error", "✗", "Failed"),
    "skipped": ("finding-hint", "·", "Not tested"),
}

NONE = (
    '<div class="empty"><p>No speech endpoint is set up. Everything is decoded on this machine.</p>'
    "<p>An endpoint is a server with a speech model, such as vLLM, speaches, xinference, FunASR or"
    " another Whisper for Subs. Jobs may use it once it is active.</p></div>"
)


def endpoint_table(
    rows: Sequence[EndpointRow],
    states: Mapping[str, str],
    *,
    off: str = "",
    testing: Collection[str] = (),
) -> str:
    """All endpoints.

    Args:
        states: by id, what the slots of the active ones do.
        off: why none is used whatever is set up.
        testing: ids of those that are being tested.
    """
    notice = problem_text(off, "") if off else ""
    if not rows:
        return notice + NONE
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    # By what never changes: a row that moved away would leave another one under the pointer.
    rows = sorted(rows, key=lambda row: row.id)
    body = "".join(_row(row, states.get(row.id, ""), row.id in testing) for row in rows)
    return (
        f'{notice}<div class="endpoints"><table><thead><tr>{heads}</tr></thead>{body}</table></div>'
    )


def _row(row: EndpointRow, slot: str, testing: bool) -> str:
    url = str(row.values["api_url"] or "")
    kind = row.endpoint.kind if row.endpoint else str(row.values["kind"] or "")
    cells = (
        f'<th scope="row">{text(row.name)}<small>{text(row.id)}</small></th>',
        f"<td><code>{text(_place(url))}</code></td>",
        f"<td>{text(PROTOCOLS.get(kind, kind))}</td>",
        f"<td>{text(row.values['model_name'] or '–')}</td>",
        f"<td>{text(_state(row, slot))}</td>",
        f"<td>{'yes' if row.values['is_default'] is True else ''}</td>",
        f"<td>{text(row.key)}</td>",
        f"<td>{_tested(row.test)}</td>",
    )
    more = problem_text(row.problem, "") if row.problem else ""
    if testing:
        more += '<p class="message" role="status">Testing the connection …</p>'
    elif row.test is not None:
        more += _checks(row.test)
    return (
        f'<tbody data-endpoint="{text(row.id)}"><tr>{"".join(cells)}</tr>'
        f'<tr><td colspan="{len(HEADS)}">{more}'
        f'<div class="actions-row">{_actions(row)}</div></td></tr></tbody>'
    )


def _place(url: str) -> str:
    """The address without a query, which may hold a key."""
    return urlsplit(url)._replace(query="", fragment="").geturl() if "//" in url else url


def _state(row: EndpointRow, slot: str) -> str:
    if row.problem:
        return "not usable"
    return (slot or "active") if row.active else "not active"


def _actions(row: EndpointRow) -> str:
    on = bool(row.active)
    wanted = [
        ("edit_endpoint", "Edit", ""),
        ("deactivate_endpoint", "Deactivate", "") if on else ("activate_endpoint", "Activate", ""),
        ("default_endpoint", "Make default", ""),
        ("test_endpoint", "Test connection", ""),
        ("delete_endpoint", "Delete", "danger"),
    ]
    return "".join(action(act, row.id, label, row.name, kind) for act, label, kind in wanted)


def _tested(test: KeptTest | None) -> str:
    if test is None:
        return "not tested"
    verdict = "passed" if test.passed else "failed"
    return f"{verdict}, {time(test.tested_at)}"


def _checks(test: KeptTest) -> str:
    return f'<div class="doctor"><ul>{"".join(map(_check, test.checks))}</ul></div>'


def _check(check: KeptCheck) -> str:
    kind, mark, spoken = _MARKS[check.state]
    fix = f'<p class="fix"><b>Fix:</b> {with_commands(check.fix)}</p>' if check.fix else ""
    name = check.name[:1].upper() + check.name[1:]
    return (
        f'<li class="finding {kind}"><span class="mark" role="img" aria-label="{spoken}">{mark}'
        f"</span><div><p><b>{text(name)}</b> {text(check.text)}</p>{fix}</div></li>"
    )
