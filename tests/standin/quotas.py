"""The quotas that Service Quotas tells are those that the stand-in keeps to."""

from moto.servicequotas.exceptions import NoSuchResource
from moto.servicequotas.models import ServiceQuotasBackend

from .ec2nat import _wrap
from .hub import STANDIN

# Setting and quota code, as the console of Service Quotas lists them under Amazon VPC.
VALUES = {"L-FE5A380F": "nat_quota_per_zone", "L-93826ACB": "route_quota"}


def install():
    _wrap(ServiceQuotasBackend, "get_service_quota", _get_service_quota)


def _get_service_quota(original, backend, service_code, quota_code):
    quota = original(backend, service_code, quota_code)
    if quota_code not in VALUES:
        # moto's are made up as far as the stand-in does not keep to them.
        raise NoSuchResource
    return {**quota, "Value": float(getattr(STANDIN.settings, VALUES[quota_code]))}
