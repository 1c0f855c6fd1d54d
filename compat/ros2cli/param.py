"""`ros2 param`: list, get and set parameters."""

from __future__ import annotations

import argparse
import sys
from typing import Any

# By the number that rcl_interfaces/msg/ParameterType gives each type.
TYPES = [
    "not set",
    "boolean",
    "integer",
    "double",
    "string",
    "byte array",
    "boolean array",
    "integer array",
    "double array",
    "string array",
]


def add_command(commands: Any) -> None:
    """Add `param` to the commands."""
    parser = commands.add_parser("param", help="List, get and set parameters")
    verbs = parser.add_subparsers(title="Verbs", metavar="verb", required=True)

    verb = verbs.add_parser("list", help="Output a list of available parameters")
    verb.add_argument("node_name", nargs="?", help="Name of the ROS node")
    verb.add_argument("--param-type", action="store_true", help="With their types")
    verb.set_defaults(main=show)

    verb = verbs.add_parser("get", help="Get parameter")
    verb.add_argument("node_name", help="Name of the ROS node")
    verb.add_argument("parameter_name", help="Name of the parameter")
    verb.add_argument("--hide-type", action="store_true", help="Hide the type information")
    verb.set_defaults(main=get)

    verb = verbs.add_parser("set", help="Set parameter")
    verb.add_argument("node_name", help="Name of the ROS node")
    verb.add_argument("parameter_name", help="Name of the parameter")
    verb.add_argument("value", help="Value of the parameter, as YAML")
    verb.set_defaults(main=change)


def _client(node: Any, name: str) -> Any:
    from rclpy.parameter_client import AsyncParameterClient

    client = AsyncParameterClient(node, name)
    if not client.wait_for_services(timeout_sec=5.0):
        raise RuntimeError(
            f"Wait for service timed out waiting for parameter services for node {name}"
        )
    return client


def _result(node: Any, name: str, future: Any) -> Any:
    import rclpy

    rclpy.spin_until_future_complete(node, future, timeout_sec=10.0)
    if not future.done() or future.result() is None:
        raise RuntimeError(f"No answer from the parameter services of node {name}")
    return future.result()


def show(options: argparse.Namespace) -> None:
    """List the parameters of a node, or of all."""
    from . import graph

    with graph.graph_node() if options.node_name else graph.settled_node() as node:
        if options.node_name:
            names = [graph.wait_for_node(node, options.node_name)]
        else:
            names = sorted(graph.node_names(node))
        for name in names:
            try:
                client = _client(node, name)
            except RuntimeError as error:
                print(error)
                continue
            found = sorted(_result(node, name, client.list_parameters()).result.names)
            if found and not options.node_name:
                print(f"{name}:")
            types = {}
            if options.param_type and found:
                answer = _result(node, name, client.describe_parameters(found))
                types = {item.name: f" (type: {TYPES[item.type]})" for item in answer.descriptors}
            for parameter in found:
                print(f"  {parameter}{types.get(parameter, '')}")


def get(options: argparse.Namespace) -> str | None:
    """Print a parameter's value."""
    from rclpy.parameter import parameter_value_to_python

    from . import graph

    with graph.graph_node() as node:
        name = graph.wait_for_node(node, options.node_name)
        future = _client(node, name).get_parameters([options.parameter_name])
        values = _result(node, name, future).values
    if not values:
        return "Parameter not set"
    value = parameter_value_to_python(values[0])
    if options.hide_type:
        print(value)
    elif value is None:
        print("Parameter not set.")
    else:
        print(label(values[0].type), value)
    return None


def label(number: int) -> str:
    """Return what stands before a value of a type."""
    name, _, several = TYPES[number].partition(" ")
    return f"{name.capitalize()} {'values are' if several else 'value is'}:"


def change(options: argparse.Namespace) -> int | None:
    """Set a parameter."""
    from rcl_interfaces.msg import Parameter
    from rclpy.parameter import get_parameter_value

    from . import graph

    parameter = Parameter(
        name=options.parameter_name, value=get_parameter_value(string_value=options.value)
    )
    with graph.graph_node() as node:
        name = graph.wait_for_node(node, options.node_name)
        future = _client(node, name).set_parameters([parameter])
        (result,) = _result(node, name, future).results
    reason = f": {result.reason}" if result.reason else ""
    if result.successful:
        print(f"Set parameter successful{reason}")
        return None
    print(f"Setting parameter failed{reason}", file=sys.stderr)
    return 1
