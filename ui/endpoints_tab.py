"""System → Speech endpoints: administrators list, set up, switch and test remote servers.

The tab is hidden from everybody else, and every handler asks again who is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from access.identity import identity_of, is_administrator
from core.errors import InvalidOption, SubtitleError
from core.settings import Settings
from jobs.endpoint_rows import AsrConfig, EndpointRow
from jobs.endpoints import OFF
from jobs.service import JobService
from ui import endpoints_view as view
from ui import scripts
from ui.entries import asked_id, toasts
from ui.jobs_tab import QUIET
from ui.markup import problem

FIELDS = (
    "name", "api_url", "model_name", "kind", "api_key", "is_active", "is_default",
    "parallel", "priority", "timeout_s", "timeout_per_audio_s", "max_clip_s", "mode",
)  # fmt: skip
"""Controls of the form, in the order of an event's inputs."""

NEW, KEPT = "Add an endpoint", "Left empty, the key stays."


class EndpointsTab:
    """Draws itself into the current Gradio block."""

    def __init__(self, settings: Settings, service: JobService) -> None:
        self._settings = settings
        self._service = service
        self._testing: set[str] = set()
        """Ids of those that are being tested, whoever asked."""
        self.table = scripts.html("endpoint-list", scripts.ACTIONS)
        self._edited = gr.State("")
        """Id of the endpoint in the form; empty: another one."""
        with gr.Group(elem_id="endpoint-form"):
            self._title = gr.Markdown(f"### {NEW}", elem_id="endpoint-title")
            self._controls = self._form()
        with gr.Row(elem_classes="actions"):
            self._save = gr.Button(
                "Save", variant="primary", size="md", scale=0, min_width=140,
                elem_id="endpoint-save",
            )  # fmt: skip
            self._clear = gr.Button(
                "Clear", size="md", scale=0, min_width=140, elem_id="endpoint-clear"
            )

    def _form(self) -> list[Any]:
        made: dict[str, Any] = {}
        with gr.Row():
            made["name"] = _box("name", "Name")
            made["api_url"] = _box("api_url", "Address")
        with gr.Row():
            made["model_name"] = _box("model_name", "Model")
            made["kind"] = gr.Dropdown(
                [("By the address", ""), *((name, kind) for kind, name in view.PROTOCOLS.items())],
                value="", label="Protocol", elem_id="endpoint-kind",
            )  # fmt: skip
            made["api_key"] = _box("api_key", "Key", type="password")
        with gr.Row():
            made["is_active"] = gr.Checkbox(
                label="Active", info="Jobs may send audio there", elem_id="endpoint-is_active"
            )
            made["is_default"] = gr.Checkbox(
                label="Default", info=_help("is_default"), elem_id="endpoint-is_default"
            )
        with gr.Accordion("More", open=False, elem_id="endpoint-more"), gr.Row():
            for name, label in (
                ("parallel", "Requests at a time"),
                ("priority", "Priority"),
                ("timeout_s", "Time-out (s)"),
                ("timeout_per_audio_s", "… for each second of audio (s)"),
                ("max_clip_s", "Longest clip (s)"),
            ):
                default = AsrConfig.model_fields[name].default
                made[name] = gr.Number(
                    default, label=label, min_width=130, elem_id=f"endpoint-{name}"
                )
            made["mode"] = gr.Dropdown(
                ["offline", "2pass"], value="offline", label="Mode (FunASR)", min_width=130,
                elem_id="endpoint-mode",
            )  # fmt: skip
        return [made[name] for name in FIELDS]

    # Events.

    def wire(self, tab: gr.Tab, changed: Callable[[Any], None]) -> None:
        """``changed`` gets each event after which other endpoints may be active."""
        blocks = gr.context.Context.root_block
        assert blocks is not None, "a tab is drawn inside the page"
        blocks.load(self._appear, None, tab, **QUIET)
        tab.select(self.shown, None, self.table, **QUIET)
        form = [self._edited, self._title, *self._controls]
        self.table.edit_endpoint(self._edit, None, form, **QUIET)
        self._clear.click(_empty, None, form, **QUIET)
        saved = self._save.click(self._store, [self._edited, *self._controls], self.table, **QUIET)
        saved.success(_empty, None, form, **QUIET)
        changed(saved)
        for event, act in (
            (self.table.activate_endpoint, self._switch(is_active=True)),
            (self.table.deactivate_endpoint, self._switch(is_active=False)),
            (self.table.default_endpoint, self._switch(is_default=True)),
            (self.table.delete_endpoint, self._delete),
        ):
            changed(event(act, None, self.table, **QUIET))
        self.table.test_endpoint(self._test, None, self.table, **QUIET)
        self.table.refresh_endpoints(self.shown, None, self.table, **QUIET)

    def _appear(self, request: gr.Request) -> Any:
        return gr.update(visible=self._may(request))

    def _may(self, request: gr.Request) -> bool:
        return is_administrator(identity_of(request), self._settings)

    def _check(self, request: gr.Request) -> None:
        if not self._may(request):
            raise InvalidOption(
                "Only administrators may set up speech endpoints.", hint="See WHISPER_ADMINS."
            )

    def shown(self, request: gr.Request) -> str:
        """The table as it is now."""
        try:
            self._check(request)
            endpoints = self._service.endpoints
            off = OFF if endpoints.off else ""
            return view.endpoint_table(
                endpoints.rows(), self._states(), off=off, testing=self._testing
            )
        except SubtitleError as error:
            return problem(error)

    def _states(self) -> dict[str, str]:
        """What the slots of active endpoints do, by id."""
        workers = {worker.label: worker for worker in self._service.engines.endpoint_workers()}
        found = {}
        for endpoint in self._service.endpoints.active:
            worker = workers.get(endpoint.label)
            if worker is not None:
                state = "out" if worker.state == "retired" else worker.state
                found[endpoint.id] = f"{state}: {worker.reason}" if worker.reason else state
        return found

    def _edit(self, event: gr.EventData, request: gr.Request) -> list[Any]:
        with toasts():
            self._check(request)
            row = self._service.endpoints.row(asked_id(event))
        return [row.id, f"### Change {row.name}", *_filled(row)]

    def _store(self, request: gr.Request, edited: str, *values: Any) -> str:
        given = dict(zip(FIELDS, values, strict=True))
        if not given["api_key"]:
            del given["api_key"]
        with toasts():
            self._check(request)
            if edited:
                self._service.endpoints.change(edited, given)
            else:
                self._service.endpoints.add(given)
        return self.shown(request)

    def _switch(self, **fields: bool) -> Callable[[gr.EventData, gr.Request], str]:
        def switch(event: gr.EventData, request: gr.Request) -> str:
            with toasts():
                self._check(request)
                self._service.endpoints.change(asked_id(event), fields)
            return self.shown(request)

        return switch

    def _delete(self, event: gr.EventData, request: gr.Request) -> str:
        with toasts():
            self._check(request)
            self._service.endpoints.remove(asked_id(event))
        return self.shown(request)

    def _test(self, event: gr.EventData, request: gr.Request) -> Iterator[str]:
        asked = asked_id(event)
        with toasts():
            self._check(request)
        self._testing.add(asked)
        try:
            yield self.shown(request)
            with toasts():
                self._service.endpoints.test(asked)
        finally:
            self._testing.discard(asked)
        yield self.shown(request)


def _help(name: str) -> str:
    return (AsrConfig.model_fields[name].description or "").replace("\n", " ").removesuffix(".")


def _box(name: str, label: str, **options: Any) -> gr.Textbox:
    return gr.Textbox(label=label, info=_help(name), elem_id=f"endpoint-{name}", **options)


def _filled(row: EndpointRow) -> list[Any]:
    """Updates of the controls; what the form cannot hold is left to be entered again."""
    values = {name: row.values.get(name) for name in FIELDS}
    for name in ("kind", "mode"):
        values[name] = values[name] if values[name] in (*view.PROTOCOLS, "offline", "2pass") else ""
    values |= {name: values[name] is True for name in ("is_active", "is_default")}
    values["mode"] = values["mode"] or "offline"
    key = gr.update(value="", info=f"{_help('api_key')}. {KEPT}" if row.key != "not set" else None)
    return [key if name == "api_key" else gr.update(value=values[name]) for name in FIELDS]


def _empty() -> list[Any]:
    defaults = {
        name: "" if field.is_required() else field.default
        for name, field in AsrConfig.model_fields.items()
    }
    cleared = [gr.update(value=defaults[name]) for name in FIELDS]
    cleared[FIELDS.index("api_key")] = gr.update(value="", info=_help("api_key"))
    return ["", f"### {NEW}", *cleared]
