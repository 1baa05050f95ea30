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
    ec2nat.install()
    ec2rules.install()
    prefixlists.install()
    vpn.install()
    paging.install()
    quotas.install()
