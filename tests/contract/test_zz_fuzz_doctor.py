import re, pytest
from tests.contract.conftest import *
from tests.contract.test_doctor import case, endpoint, Case


def test_fuzz(case, workspace):
    before = workspace.last()
    case.visit("--probe", "--record", str(case.here / "r.json"))
    calls = sorted(
        {
            (m, re.sub(r"statements/[0-9a-f-]{36}", "statements/[^/]+", p))
            for m, p, _ in workspace.asked(before)
        }
    )
    calls.append(("POST", "served-models/.*invocations$"))
    calls.append(("GET", "/.well-known/databricks-config"))
    for m, p in calls:
        for f in (
            {"status": 401},
            {"status": 404, "error_code": "NOT_FOUND"},
            {"status": 404, "error_code": "RESOURCE_DOES_NOT_EXIST"},
            {"status": 429},
            {"status": 500, "error_code": "INTERNAL_ERROR"},
            {"status": 400, "error_code": "INVALID_PARAMETER_VALUE"},
            {"drop_connection": True},
            {"status": 200},
        ):
            workspace.heal()
            workspace.fault(
                method=m, path=p if "[" in p or "*" in p else re.escape(p) + "$", times=99, **f
            )
            try:
                v = case.visit("--probe", "--record", str(case.here / "r.json"))
                print(
                    m,
                    p.replace("/api/2", ""),
                    f,
                    v.exit_code,
                    list(v.stops),
                    list(v.marks("warn")),
                    v.stderr[:200],
                )
            except BaseException as e:
                print("!!!!", m, p, f, repr(e)[:600])
