"""Asks Keystone's own application for one token after the other, in one process, and says what came of each."""
import os
import sys
import time

os.environ["OS_KEYSTONE_CONFIG_FILES"] = sys.argv[1]
sys.argv = sys.argv[:1]

from keystone.server import wsgi  # noqa: E402
from werkzeug.test import Client  # noqa: E402

SCOPE = {"project": {"name": "admin", "domain": {"id": "default"}}}
USER = {"name": "admin", "domain": {"id": "default"}, "password": "only-for-this-test"}
IDENTITY = {"methods": ["password"], "password": {"user": USER}}
BODY = {"auth": {"identity": IDENTITY, "scope": SCOPE}}

client = Client(wsgi.initialize_public_application())
first = None
while True:
    began = time.monotonic()
    try:
        answer = client.post("/v3/auth/tokens", json=BODY)
    except Exception as error:  # What a web server around it would answer with status 500.
        print(f"failed {type(error).__name__}", flush=True)
        time.sleep(0.02)
        continue
    took = int((time.monotonic() - began) * 1000)
    token = answer.headers.get("X-Subject-Token")
    if answer.status_code == 201 and token:
        first = first or token
        headers = {"X-Auth-Token": token, "X-Subject-Token": first}
        valid = client.get("/v3/auth/tokens", headers=headers).status_code
        print(f"token {took} ms, the first one: {valid}" if valid == 200 else f"failed {valid}", flush=True)
    else:
        print(f"failed {answer.status_code} after {took} ms", flush=True)
    time.sleep(0.02)
