"""Reads the assets of an invocation: the worker's NVCF-* headers arrive as request parameters.

The server must be started with --http-header-forward-pattern 'NVCF-.*'.
"""

import hashlib
import json
import os

import numpy as np
import triton_python_backend_utils as pb_utils


def forwarded_headers(request):
    """The forwarded headers by their lower-case names: parameters() is a JSON text, or empty."""
    parameters = json.loads(request.parameters() or "{}")
    return {name.lower(): value for name, value in parameters.items()}


def asset_paths(headers):
    """Asset id -> path of its file. Without assets there is a folder all the same, and no header with ids."""
    folder = headers["nvcf-asset-dir"]
    ids = headers.get("nvcf-function-asset-ids", "")
    return {asset: os.path.join(folder, asset) for asset in ids.split(",") if asset}


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        try:
            headers = forwarded_headers(request)
            hashes = {asset: sha256(path) for asset, path in asset_paths(headers).items()}
            told = {"reqid": headers["nvcf-reqid"], "assets": hashes}
        except (KeyError, OSError, ValueError) as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"no assets: {error!r}"))
        tensor = pb_utils.Tensor("hashes", np.array([json.dumps(told)], dtype=np.object_))
        return pb_utils.InferenceResponse([tensor])
