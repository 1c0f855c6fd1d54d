"""`ros2 service`: list and call services."""

from __future__ import annotations

import argparse
from typing import Any

import yaml

from .names import add_list


def add_command(commands: Any) -> None:
    """Add `service` to the commands."""
    parser = commands.add_parser("service", help="List and call services")
    verbs = parser.add_subparsers(title="Verbs", metavar="verb", required=True)

    add_list(verbs, "services", lambda node: node.get_service_names_and_types())

    verb = verbs.add_parser("call", help="Call a service")
    verb.add_argument("service_name", help="e.g. '/ergojr/reset'")
    verb.add_argument("service_type", help="e.g. 'std_srvs/srv/Empty'")
    verb.add_argument("values", nargs="?", default="{}", help="The request as YAML")
    verb.set_defaults(main=call)


def call(options: argparse.Namespace) -> str | None:
    """Call a service, waiting for it if need be, and print its answer.

    :raises RuntimeError: there is no such type, or the call failed.
    """
    import rclpy

    from . import graph, messages

    service = messages.load_type(options.service_type, "srv")
    if not hasattr(service, "Request"):
        raise RuntimeError("The passed type is not a service")
    request = service.Request()
    try:
        messages.set_fields(request, yaml.safe_load(options.values) or {})
    except (ValueError, yaml.YAMLError) as error:
        return f"Failed to populate field: {error}"
    with graph.graph_node() as node:
        client = node.create_client(service, options.service_name)
        if not client.service_is_ready():
            print("waiting for service to become available...")
            client.wait_for_service()
        print(f"requester: making request: {request!r}\n")
        future = client.call_async(request)
        rclpy.spin_until_future_complete(node, future)
        if future.result() is None:
            raise RuntimeError(f"Exception while calling service: {future.exception()!r}")
        print(f"response:\n{future.result()!r}\n")
    return None
