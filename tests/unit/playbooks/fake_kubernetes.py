# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fake of Kubernetes' API server: discovery, one workload, its subresource ``scale``, and nothing that runs pods.

It answers what the Python client and the collection ``kubernetes.core`` ask for, in the words of the API, and records
what would change something.
"""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAMESPACE = "chat"
NAME = "erlmcp"
KINDS = {"StatefulSet": "statefulsets", "Deployment": "deployments"}
APPS = "/apis/apps/v1"


class FakeKubernetes:
    """One workload of three replicas, which are ready at once.

    :param address: where it answers, as in a kubeconfig.
    """

    def __init__(self, address):
        self.address = address
        self.kind = "StatefulSet"
        self.replicas = 3
        self.never_ready = False
        #: Replicas that somebody else sets after the next look at the workload.
        self.meanwhile = None
        #: Every request that is no look: method, path, document.
        self.writes = []

    def answer(self, method, path, body):
        """Return status and document for one request."""
        workload = f"{APPS}/namespaces/{NAMESPACE}/{KINDS[self.kind]}/{NAME}"
        if method != "GET":
            self.writes.append((method, path, body))
        if (method, path) == ("PATCH", f"{workload}/scale"):
            self.replicas = body["spec"]["replicas"]
            return 200, self._scale()
        if (method, path) == ("GET", workload):
            found = self._workload()
            self.replicas, self.meanwhile = self.meanwhile or self.replicas, None
            return 200, found
        if method == "GET" and path in self._discovery():
            return 200, self._discovery()[path]
        return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}

    def _discovery(self):
        version = {"groupVersion": "apps/v1", "version": "v1"}
        resources = [
            {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get", "list", "patch"]}
            for kind, name in KINDS.items()
        ] + [
            {"name": f"{name}/scale", "singularName": "", "namespaced": True, "group": "autoscaling", "version": "v1"}
            | {"kind": "Scale", "verbs": ["get", "patch", "update"]}
            for name in KINDS.values()
        ]
        return {
            "/version": {"major": "1", "minor": "31", "gitVersion": "v1.31.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
            "/apis": {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [{"name": "apps", "versions": [version], "preferredVersion": version}],
            },
            APPS: {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": resources},
        }

    def _metadata(self):
        return {
            "name": NAME,
            "namespace": NAMESPACE,
            "generation": self.replicas,
            "resourceVersion": str(self.replicas),
        }

    def _workload(self):
        ready = 0 if self.never_ready else self.replicas
        return {
            "apiVersion": "apps/v1",
            "kind": self.kind,
            "metadata": self._metadata(),
            "spec": {"replicas": self.replicas, "updateStrategy": {"type": "RollingUpdate"}},
            "status": {
                "observedGeneration": self.replicas,
                "currentRevision": "1",
                "updateRevision": "1",
                "replicas": self.replicas,
                "readyReplicas": ready,
                "availableReplicas": ready,
                "updatedReplicas": self.replicas,
            },
        }

    def _scale(self):
        return {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": self._metadata(),
            "spec": {"replicas": self.replicas},
            "status": {"replicas": self.replicas},
        }


class _Handler(BaseHTTPRequestHandler):
    def _respond(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        status, document = self.server.fake.answer(self.command, self.path.split("?")[0].rstrip("/"), body)
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PATCH = do_PUT = do_POST = do_DELETE = _respond

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def fake_kubernetes():
    """Run the fake on a free port of the loopback address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.fake = FakeKubernetes(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.fake
        finally:
            server.shutdown()
