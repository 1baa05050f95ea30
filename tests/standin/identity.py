"""Who a service account's token says its bearer is, as STS takes it for a role of IRSA."""

import base64
import binascii
import json

AUDIENCE = "sts.amazonaws.com"


class Refused(Exception):
    """STS's code and words."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def bearer(token, now):
    """The token's claims. Its signature is not looked at, and `now` is in seconds."""
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        audiences, expires = claims["aud"], claims["exp"]
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise Refused("InvalidIdentityToken", "The ID Token provided is not a valid JWT.") from None
    if AUDIENCE not in ([audiences] if isinstance(audiences, str) else audiences):
        raise Refused("InvalidIdentityToken", "Incorrect token audience")
    if expires <= now:
        raise Refused("ExpiredTokenException", f"Token expired: current date/time {int(now)} must be before the expiration {expires}")
    return claims


def pod(claims):
    """The pod that the token is bound to; None where it is bound to none."""
    return claims.get("kubernetes.io", {}).get("pod", {}).get("name")


def token(audience=AUDIENCE, expires=4_000_000_000, name=None):
    """One for the tests, as the API server makes them but for the signature."""
    claims = {"aud": [audience], "exp": expires, "sub": "system:serviceaccount:kube-system:kube-static-egress-controller"}
    if name:
        claims["kubernetes.io"] = {"pod": {"name": name}}
    parts = [{"alg": "RS256"}, claims]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + ".signature"
