"""A container: answers an invocation with the SHA-256 of each asset, in a form that chat clients read too.

A JSON body with "sleep": SECONDS, or a message that says `sleep SECONDS`, is answered so much later.
"""

import hashlib
import http.server
import json
import os
import re
import sys
import time


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Container(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = re.search(rb'"sleep": *(\d+)|sleep (\d+)', body)
        time.sleep(int(told[1] or told[2]) if told else 0)
        folder = self.headers["NVCF-ASSET-DIR"]
        ids = [asset for asset in self.headers.get("NVCF-FUNCTION-ASSET-IDS", "").split(",") if asset]
        assets = {asset: sha256(os.path.join(folder, asset)) for asset in ids}
        message = {"role": "assistant", "content": json.dumps(assets)}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "1", "object": "chat.completion", "model": "hashes", "choices": choices, "usage": usage}
        text = json.dumps(answer | {"assets": assets}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Container).serve_forever()
