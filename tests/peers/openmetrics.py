"""Reads a gateway's /metrics as OpenMetrics, with a parser that refuses what the standard does.

Prints {content_type, families, exemplars: [{name, labels, exemplar, value, timestamp}], text: <the type without asking>}.
"""

import json
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

OPEN = "application/openmetrics-text; version=1.0.0"


def get(address: str, accept: str | None) -> tuple[str, str]:
    request = urllib.request.Request(f"http://{address}/metrics")
    if accept:
        request.add_header("Accept", accept)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers["content-type"], answer.read().decode()


def main() -> None:
    address = sys.argv[1]
    kind, page = get(address, OPEN)
    families = list(text_string_to_metric_families(page))
    exemplars = [
        {
            "name": sample.name,
            "labels": sample.labels,
            "exemplar": sample.exemplar.labels,
            "value": sample.exemplar.value,
            "timestamp": float(sample.exemplar.timestamp),
        }
        for family in families
        for sample in family.samples
        if sample.exemplar
    ]
    report = {
        "content_type": kind,
        "families": {family.name: {"type": family.type, "unit": family.unit} for family in families},
        "exemplars": exemplars,
        "text": get(address, None)[0],
    }
    print(json.dumps(report))


main()
