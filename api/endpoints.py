"""``/api/endpoints``: administrators set up the remote servers that jobs may use, and test them.

    curl --json '{"name": "Office", "api_url": "http://10.0.5.4:8000/v1/audio/transcriptions"}' …
    curl -X PATCH --json '{"is_active": true}'  …/api/endpoints/office
    curl -X POST  …/api/endpoints/office/test        takes up to a minute

Keys go in and never come out.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response

from access.identity import identity_of, is_administrator
from api.asgi import in_threads, root_of
from api.errors import Refused, json_answer
from api.openapi import endpoint_fields
from api.schemas import EndpointJson, EndpointListJson, refusals
from core.settings import Settings
from jobs.endpoint_rows import FIELDS, EndpointRow
from jobs.service import JobService

READERS, TESTERS = 8, 4

# Which fields may stand there and what they may be is checked by the model that everybody uses.
Fields = Annotated[dict[str, Any], Body()]


def endpoints_router(service: JobService) -> APIRouter:
    router = APIRouter(prefix="/api/endpoints", tags=["speech endpoints"])
    _add_all(router, service)
    _add_one(router, service)
    return router


def check_administrator(request: Request, settings: Settings) -> None:
    """Raises Refused."""
    if not is_administrator(identity_of(request), settings):
        raise Refused(
            403,
            "NotAllowed",
            "Only administrators may see and set up speech endpoints.",
            "WHISPER_ADMINS names them.",
        )


def endpoint_json(row: EndpointRow) -> dict[str, Any]:
    """An endpoint as it stands in the table; what is wrong there may be of any type."""
    return {
        "id": row.id,
        **{name: row.values[name] for name in FIELDS if name != "api_key"},
        "key": row.key,
        "usable": row.endpoint is not None,
        "problem": row.problem,
        "protocol": row.endpoint.kind if row.endpoint else None,
        "test": None
        if row.test is None
        else {"passed": row.test.passed, **row.test.model_dump(mode="json", exclude={"subject"})},
    }


def _add_all(router: APIRouter, service: JobService) -> None:
    in_thread = in_threads(READERS)

    @router.get("", response_model=EndpointListJson, responses=refusals())
    @in_thread
    def endpoints(request: Request) -> JSONResponse:
        """All endpoints, in the order in which they are asked, then those that cannot be used."""
        check_administrator(request, service.settings)
        rows = service.endpoints.rows()
        return json_answer({"endpoints": list(map(endpoint_json, rows))})

    @router.post(
        "",
        status_code=201,
        response_model=EndpointJson,
        responses=refusals(),
        openapi_extra=endpoint_fields(new=True),
    )
    @in_thread
    def add(request: Request, fields: Fields) -> JSONResponse:
        """Set up another one. Jobs may use it once it is active."""
        check_administrator(request, service.settings)
        given = {name: value for name, value in fields.items() if name != "id"}
        row = service.endpoints.add(given, str(fields.get("id") or ""))
        place = f"{root_of(request)}/api/endpoints/{row.id}"
        return json_answer(endpoint_json(row), 201, Location=place)


def _add_one(router: APIRouter, service: JobService) -> None:
    in_thread, in_tester = in_threads(READERS), in_threads(TESTERS)
    place = "/{endpoint_id}"
    fields_of_one: dict[str, Any] = {
        "response_model": EndpointJson,
        "openapi_extra": endpoint_fields(new=False),
    }

    @router.get(place, response_model=EndpointJson, responses=refusals(404))
    @in_thread
    def endpoint(request: Request, endpoint_id: str) -> JSONResponse:
        """One endpoint."""
        check_administrator(request, service.settings)
        return json_answer(endpoint_json(service.endpoints.row(endpoint_id)))

    @router.put(place, responses=refusals(404), **fields_of_one)
    @in_thread
    def replace(request: Request, endpoint_id: str, fields: Fields) -> JSONResponse:
        """Change it: what is left out gets its default, but for the key."""
        check_administrator(request, service.settings)
        return json_answer(endpoint_json(service.endpoints.replace(endpoint_id, fields)))

    @router.patch(place, responses=refusals(404), **fields_of_one)
    @in_thread
    def change(request: Request, endpoint_id: str, fields: Fields) -> JSONResponse:
        """Change it: what is left out stays. So it is activated and made the default."""
        check_administrator(request, service.settings)
        return json_answer(endpoint_json(service.endpoints.change(endpoint_id, fields)))

    @router.delete(place, status_code=204, responses=refusals(404))
    @in_thread
    def remove(request: Request, endpoint_id: str) -> Response:
        """Remove it; what it decodes goes on elsewhere."""
        check_administrator(request, service.settings)
        service.endpoints.remove(endpoint_id)
        return Response(status_code=204)

    @router.post(f"{place}/test", response_model=EndpointJson, responses=refusals(404))
    @in_tester
    def test(request: Request, endpoint_id: str) -> JSONResponse:
        """Test the connection with a short clip of speech; the answer takes up to a minute."""
        check_administrator(request, service.settings)
        return json_answer(endpoint_json(service.endpoints.test(endpoint_id)))
