"""Drives a node with the clients that people use for NVCF, unmodified but for the host.

nvcf_clients.py NODE_URL TOKEN FUNCTION_ID; the function's container is container.py. A line for each client.
"""

import hashlib
import json
import os
import sys
import tempfile
import time

NODE, TOKEN, FUNCTION = sys.argv[1:]
CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PEXEC = f"{NODE}/v2/nvcf/pexec"


def with_requests():
    import requests

    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    described = {"contentType": "image/png", "description": "red-cat-photo"}
    created = session.post(f"{NODE}/v2/nvcf/assets", json=described)
    assert created.status_code == 200, created.text
    asset, url = created.json()["assetId"], created.json()["uploadUrl"]
    headers = {"Content-Type": "image/png", "x-amz-meta-nvcf-asset-description": "red-cat-photo"}
    uploaded = requests.put(url, data=CONTENT, headers=headers)
    assert uploaded.status_code == 200, uploaded.text
    listed = session.get(f"{NODE}/v2/nvcf/assets").json()["assets"]
    assert asset in [row["assetId"] for row in listed], listed
    shown = session.get(f"{NODE}/v2/nvcf/assets/{asset}").json()["asset"]
    assert shown["assetId"] == asset and shown["description"] == "red-cat-photo", shown

    references = {"NVCF-INPUT-ASSET-REFERENCES": asset}
    answer = session.post(f"{PEXEC}/functions/{FUNCTION}", json={}, headers=references)
    assert answer.status_code == 200 and answer.json()["assets"] == {asset: SHA256}, answer.text
    assert answer.headers["NVCF-STATUS"] == "fulfilled", answer.headers

    references["NVCF-POLL-SECONDS"] = "1"
    answer = session.post(f"{PEXEC}/functions/{FUNCTION}", json={"sleep": 3}, headers=references)
    assert answer.status_code == 202, answer.text
    asked = 0
    while answer.status_code == 202:
        asked += 1
        request = answer.headers["NVCF-REQID"]
        answer = session.get(f"{PEXEC}/status/{request}", headers={"NVCF-POLL-SECONDS": "1"})
    assert answer.status_code == 200 and answer.json()["assets"] == {asset: SHA256}, answer.text
    assert session.get(f"{PEXEC}/status/{request}").status_code == 404

    assert session.delete(f"{NODE}/v2/nvcf/assets/{asset}").status_code == 204
    assert session.delete(f"{NODE}/v2/nvcf/assets/{asset}").status_code == 404
    gone = session.post(f"{PEXEC}/functions/{FUNCTION}", json={}, headers=references)
    assert gone.status_code == 404 and asset in gone.json()["detail"], gone.text
    return f"create, upload, list, get, invoke (200; 202, asked again {asked} times), delete"


def with_ngcsdk():
    from nvcf.api import constants

    for environment in constants.NVCF_URL_MAPPING:
        constants.NVCF_URL_MAPPING[environment] = NODE
    from ngcsdk import Client
    from nvcf.api.asset import AssetAPI
    from nvcf.api.invocation_handler import HTTPSInvocationHandler

    client = Client()
    assets = AssetAPI(client)
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(CONTENT)
        file.flush()
        uploaded = assets.upload(path=file.name, description="red-cat-photo", starfleet_api_key=TOKEN)
    assert uploaded["response_code"] == 200, uploaded
    asset = uploaded["asset_id"]
    listed = assets.list(starfleet_api_key=TOKEN)
    assert asset in [row["assetId"] for row in listed["assets"]], listed
    shown = assets.info(asset, starfleet_api_key=TOKEN)
    assert shown["asset"]["assetId"] == asset, shown
    with HTTPSInvocationHandler(TOKEN, base_url=NODE) as handler:
        answer = handler.make_invocation_request(FUNCTION, {"x": 1}, asset_ids=[asset])
        assert answer["assets"] == {asset: SHA256}, answer
        begun = time.monotonic()
        answer = handler.make_invocation_request(
            FUNCTION, {"sleep": 3}, asset_ids=[asset], polling_request_timeout=1
        )
        assert answer["assets"] == {asset: SHA256} and time.monotonic() - begun >= 3, answer
    assets.delete(asset, starfleet_api_key=TOKEN)
    listed = assets.list(starfleet_api_key=TOKEN)
    assert asset not in [row["assetId"] for row in listed["assets"]], listed
    return "upload, list, info, invoke (200; 202 and polling), delete"


def with_langchain():
    import requests
    from langchain_nvidia_ai_endpoints import ChatNVIDIA, Model, register_model

    bearer = {"Authorization": f"Bearer {TOKEN}"}
    described = {"contentType": "image/png", "description": "cat"}
    created = requests.post(f"{NODE}/v2/nvcf/assets", json=described, headers=bearer).json()
    asset = created["assetId"]
    headers = {"Content-Type": "image/png", "x-amz-meta-nvcf-asset-description": "cat"}
    assert requests.put(created["uploadUrl"], data=CONTENT, headers=headers).status_code == 200
    endpoint = f"{PEXEC}/functions/{FUNCTION}"
    register_model(Model(id="hashes", model_type="vlm", client="ChatNVIDIA", endpoint=endpoint))
    chat = ChatNVIDIA(model="hashes", api_key=TOKEN)
    answer = chat.invoke(f'what is <img src="data:image/png;asset_id,{asset}"/>')
    assert json.loads(answer.content) == {asset: SHA256}, answer
    requests.delete(f"{NODE}/v2/nvcf/assets/{asset}", headers=bearer)
    return "the image of a chat message went by reference, and the answer came"


for run in (with_requests, with_ngcsdk, with_langchain):
    name = run.__name__.removeprefix("with_")
    print(f"{name}: {run()}", flush=True)
