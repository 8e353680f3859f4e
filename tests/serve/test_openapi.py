"""`/openapi.json` describes the server: schemathesis sends thousands of requests and checks every answer."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.serve.server import Server

EXAMPLES = 12  # examples for each operation


def operations(port):
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    return {f"{found.ok().method.upper()} {found.ok().path}": found.ok() for found in schema.get_all_operations()}


def test_every_answer_is_as_the_document_says(model):
    with Server(model, "--deadline", 20) as server:
        found = operations(server.port)
        assert {"POST /v1/score", "POST /v1/score/batch", "POST /v1/score/file", "GET /v1/model", "GET /metrics"} <= set(found)
        assert "POST /v2/models/{model}/versions/{version}/infer" in found
        for operation in found.values():
            _ask(operation)
        assert server.get("/health/live").status == 200
        failures = [name for name in server.metrics() if 'status="500"' in name]
        assert not failures
        server.process.terminate()
        _, errors = server.ended()
        assert errors == ""


def _ask(operation):
    """Requests generated from the document, the same in every run."""
    strategy = operation.as_strategy()

    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy, is_ours=strategies.booleans())
    def asked(case, is_ours):
        if is_ours and "model" in (case.path_parameters or {}):
            case.path_parameters.update({"model": "dcnn_fast"} | dict.fromkeys(set(case.path_parameters) & {"version"}, "1"))
        response = case.call()
        case.validate_response(response, excluded_checks=[positive_data_acceptance])  # no schema describes a picture's bytes

    asked()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_refused_in_one_line(server, method):
    answer = httpx.request(method, f"http://127.0.0.1:{server.port}/v1/score")
    assert answer.status_code == 405 and answer.json() == {"error": "Method Not Allowed"} and answer.headers["allow"] == "POST"
