"""Makes a bucket that everybody may read: bucket.py ENDPOINT NAME, with the keys of AWS_*."""

import datetime
import hashlib
import hmac
import json
import os
import sys
import urllib.request


def put(endpoint, path, query, body):
    """A PUT signed as Signature Version 4 says."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    region, host = os.environ.get("AWS_REGION", "us-east-1"), endpoint.split("//")[1].rstrip("/")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": now}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    asked = "\n".join(["PUT", path, query, lines, names, digest])
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(asked.encode()).hexdigest()])
    key = b"AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, "
        f"SignedHeaders={names}, Signature={key.hex()}"
    )
    url = f"{endpoint.rstrip('/')}{path}" + (f"?{query}" if query else "")
    request = urllib.request.Request(url, data=body, headers=headers, method="PUT")
    urllib.request.urlopen(request, timeout=30).close()


endpoint, name = sys.argv[1:]
put(endpoint, f"/{name}", "", b"")
allowed = {
    "Effect": "Allow",
    "Principal": "*",
    "Action": ["s3:GetObject"],
    "Resource": [f"arn:aws:s3:::{name}/*"],
}
policy = {"Version": "2012-10-17", "Statement": [allowed]}
put(endpoint, f"/{name}", "policy=", json.dumps(policy).encode())
