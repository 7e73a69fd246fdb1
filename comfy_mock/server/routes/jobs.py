"""The jobs API (protocol 4.6)."""

from __future__ import annotations

from comfy_mock.engine.answers import Answer, json_answer
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.jobs import find_job, list_jobs
from comfy_mock.server.http import Endpoint, HttpRequest, MalformedJson


def get_jobs(engine: Engine, request: HttpRequest) -> Answer:
    return list_jobs(engine.queue, request.query)


def get_job(engine: Engine, request: HttpRequest) -> Answer:
    return find_job(engine.queue, request.path_params["job_id"])


def post_cancel(engine: Engine, request: HttpRequest) -> Answer:
    return json_answer({"cancelled": engine.cancel(request.path_params["job_id"])})


def post_cancel_many(engine: Engine, request: HttpRequest) -> Answer:
    try:
        body = request.json()
    except MalformedJson:
        return json_answer({"error": "Request body must be valid JSON"}, 400)
    return engine.cancel_jobs(body)


ENDPOINTS = [
    Endpoint("GET", "/api/jobs", get_jobs, fact="jobs_api"),
    Endpoint("GET", "/api/jobs/{job_id}", get_job, fact="jobs_api"),
    Endpoint("POST", "/api/jobs/cancel", post_cancel_many, fact="cancel_routes"),
    Endpoint("POST", "/api/jobs/{job_id}/cancel", post_cancel, reads_body=False, fact="cancel_routes"),
]
