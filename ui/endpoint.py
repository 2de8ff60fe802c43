"""``/process_audio``: one recording in, its subtitles out, for ``gradio_client``.

    from gradio_client import Client, handle_file
    client = Client("http://127.0.0.1:7860/")
    status, srt, path = client.predict(handle_file("talk.mp4"), api_name="/process_audio")

Everything but the file has a default. Errors arrive as exceptions with their message and hint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from access.identity import identity_of
from core.errors import InvalidOption, SubtitleError
from core.types import PlanOptions
from jobs.records import JobView
from jobs.service import JobService
from model_store.store import check_offered
from ui import wording
from ui.live_view import Watchers
from ui.options import page_options, page_request


class ProcessAudio:
    """Registers the endpoint in the current Gradio block. Nothing of it is visible."""

    def __init__(self, service: JobService, watchers: Watchers) -> None:
        self._service = service
        self._watchers = watchers
        self._srt_file = gr.File(visible=False, label="srt_file")
        outputs = [
            gr.Textbox(visible=False, label="status"),
            gr.Textbox(visible=False, label="srt_text"),
            self._srt_file,
        ]
        settings = service.settings
        gr.Button(visible=False).click(
            self.process_audio,
            self._inputs(),
            outputs,
            api_name="process_audio",
            api_description="Transcribe a recording; returns a status line, the SRT text and "
            "the SRT file.",
            concurrency_limit=settings.max_running_jobs + settings.max_waiting_jobs,
        )

    def _inputs(self) -> list[Any]:
        plan, settings = PlanOptions(), self._service.settings
        return [
            gr.File(visible=False, label="audio_file"),
            gr.Textbox("auto", visible=False, label="model_size"),
            gr.Textbox("auto", visible=False, label="language"),
            gr.Textbox("transcribe", visible=False, label="task"),
            gr.Checkbox(True, visible=False, label="use_vad"),
            gr.Number(plan.vad_threshold, visible=False, label="vad_threshold"),
            gr.Number(plan.min_segment_duration, visible=False, label="min_segment_duration"),
            gr.Number(plan.max_segment_duration, visible=False, label="max_segment_duration"),
            gr.Checkbox(True, visible=False, label="use_multi_gpu"),
            gr.Textbox("auto", visible=False, label="compute_type"),
            gr.Number(settings.beam_size, visible=False, label="beam_size", precision=0),
            gr.Number(settings.batch_size, visible=False, label="batch_size", precision=0),
            gr.Textbox("", visible=False, label="initial_prompt"),
            gr.Textbox("", visible=False, label="hotwords"),
            gr.Number(0, visible=False, label="audio_track", precision=0),
        ]

    async def process_audio(
        self,
        audio_file: str,
        model_size: str,
        language: str,
        task: str,
        use_vad: bool,
        vad_threshold: float,
        min_segment_duration: float,
        max_segment_duration: float,
        use_multi_gpu: bool,
        compute_type: str,
        beam_size: int,
        batch_size: int,
        initial_prompt: str,
        hotwords: str,
        audio_track: int,
        request: gr.Request,
    ) -> tuple[str, str, str]:
        """Transcribe a recording and wait for the end.

        ``audio_track`` counts from 1; 0 takes the default one.
        """
        try:
            if not audio_file:
                raise InvalidOption("No recording was sent.", hint="Use handle_file(path).")
            check_offered(model_size, self._service.settings)
            options = page_options(
                {
                    "model": model_size,
                    "language": language,
                    "task": task,
                    # The job outlives this call: opened by its link it has a player with captions.
                    "formats": ["srt"],
                    "compute_type": compute_type,
                    "multi_gpu": use_multi_gpu,
                    "use_vad": use_vad,
                    "vad_threshold": vad_threshold,
                    "min_segment_duration": min_segment_duration,
                    "max_segment_duration": max_segment_duration,
                    "beam_size": beam_size,
                    "batch_size": batch_size,
                    "initial_prompt": initial_prompt,
                    "hotwords": hotwords,
                    "audio_track": audio_track,
                }
            )
            path = Path(audio_file)
            wanted = page_request(options, path, path.name, identity_of(request))
            job = await self._watchers.call(lambda: self._service.submit(wanted))
            view = await self._watchers.end(job)
            if view.error is not None:
                raise view.error
        except SubtitleError as error:
            raise gr.Error(
                error.explain(), title=wording.title(error), print_exception=False
            ) from error
        return self._answer(view)

    def _answer(self, view: JobView) -> tuple[str, str, str]:
        status = wording.verdict(len(view.cues), view.gaps, view.report, view.language)
        status = "\n".join([status, *map(wording.gap_text, view.gaps)])
        srt = view.outputs["srt"]
        # Into Gradio's own folder, from which it serves and which it empties by itself: so no
        # folder of the app has to be opened to it.
        path = self._srt_file.move_resource_to_block_cache(srt)
        return status, srt.read_text(encoding="utf-8"), str(path)
