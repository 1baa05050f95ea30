"""Hooks the stand-in into moto. The only place that knows where moto lets itself be changed."""

import functools
import importlib.metadata
import os

MOTO = "5.2.5"

# 1,285 machine images that nobody asks for here, read from disk at each reset.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")


def check_version():
    found = importlib.metadata.version("moto")
    if found != MOTO:
        raise SystemExit(f"the stand-in is made for moto {MOTO}, not {found}: its hooks would miss")


def install():
    check_version()
    import moto.cloudformation.urls as urls
    import moto.core.responses as responses

    from . import ec2nat, ec2rules, paging, prefixlists, quotas, vpn
    from .api import CloudFormationApi

    urls.url_paths["{0}/$"] = CloudFormationApi.dispatch
    # moto looks through all methods of a service at each request, and EC2 has two thousand.
    responses.method_names_from_class = functools.cache(responses.method_names_from_class)
    _other_partitions()
    ec2nat.install()
    ec2rules.install()
    prefixlists.install()
    vpn.install()
    paging.install()
    quotas.install()


def _other_partitions():
    """Gives zones to the regions of partitions of which moto knows none."""
    import botocore.session
    from moto.ec2.models.availability_zones_and_regions import Region, RegionsAndZonesBackend, Zone

    session = botocore.session.get_session()
    for partition in session.get_available_partitions():
        for name in session.get_available_regions("ec2", partition_name=partition):
            if name not in RegionsAndZonesBackend.zones:
                RegionsAndZonesBackend.regions.append(Region(name, f"ec2.{name}", "opt-in-not-required"))
                RegionsAndZonesBackend.zones[name] = [Zone(name + letter, name, f"{name}-az{letter}") for letter in "abc"]
