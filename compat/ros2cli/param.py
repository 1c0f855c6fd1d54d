"""`ros2 param`: list, get, set, describe, dump and load parameters."""

from __future__ import annotations

import argparse
import array
import sys
from typing import Any

import yaml

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
    parser = commands.add_parser("param", help="List, get, set, describe, dump, load parameters")
    verbs = parser.add_subparsers(title="Verbs", metavar="verb", required=True)

    def add(name: str, main: Any, help_: str) -> Any:
        verb = verbs.add_parser(name, help=help_)
        optional = "?" if name == "list" else None
        verb.add_argument("node_name", nargs=optional, help="Name of the ROS node")
        verb.set_defaults(main=main)
        return verb

    add("list", show, "Output a list of available parameters")
    verb = add("get", get, "Get parameter")
    verb.add_argument("parameter_name", help="Name of the parameter")
    verb.add_argument("--hide-type", action="store_true", help="Hide the type information")
    verb = add("set", change, "Set parameter")
    verb.add_argument("parameter_name", help="Name of the parameter")
    verb.add_argument("value", help="Value of the parameter, as YAML")
    verb = add("describe", describe, "Show descriptive information about declared parameters")
    verb.add_argument("parameter_names", nargs="+", help="Names of the parameters")
    add("dump", dump, "Show all of the parameters of a node in a YAML file format")
    verb = add("load", load, "Load parameter file for a node")
    verb.add_argument("parameter_file", help="Parameter file")
    verb.add_argument(
        "--no-use-wildcard", action="store_true", help="Not those of the namespace /**"
    )


class Client:
    """Asks for and sets the parameters of one node, when it has appeared.

    :raises RuntimeError: it does not appear, or (from all methods) does not answer.
    """

    def __init__(self, node: Any, name: str) -> None:
        from rclpy.parameter_client import AsyncParameterClient

        from . import graph

        self._node = node
        self.name = graph.wait_for_node(node, name)
        self._client = AsyncParameterClient(node, self.name)
        if not self._client.wait_for_services(timeout_sec=5.0):
            raise RuntimeError(
                f"Wait for service timed out waiting for parameter services for node {self.name}"
            )

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return the answer to one of the methods of rclpy's AsyncParameterClient."""
        import rclpy

        future = getattr(self._client, method)(*arguments)
        rclpy.spin_until_future_complete(self._node, future, timeout_sec=10.0)
        if not future.done() or future.result() is None:
            raise RuntimeError(f"No answer from the parameter services of node {self.name}")
        return future.result()

    def names(self) -> list[str]:
        """Return the names of the parameters, sorted."""
        return sorted(self.ask("list_parameters").result.names)


def show(options: argparse.Namespace) -> None:
    """List the parameters of a node, or of all."""
    from . import graph

    with graph.graph_node() if options.node_name else graph.settled_node() as node:
        names = [options.node_name] if options.node_name else sorted(graph.node_names(node))
        for name in names:
            try:
                found = Client(node, name).names()
            except RuntimeError as error:
                print(error, file=sys.stderr)
                continue
            if found and not options.node_name:
                print(f"{name}:")
            for parameter in found:
                print(f"  {parameter}")


def get(options: argparse.Namespace) -> str | None:
    """Print a parameter's value."""
    from rclpy.parameter import parameter_value_to_python

    from . import graph

    with graph.graph_node() as node:
        values = (
            Client(node, options.node_name).ask("get_parameters", [options.parameter_name]).values
        )
    if not values:
        return "Parameter not set"
    value = parameter_value_to_python(values[0])
    if options.hide_type:
        print(value)
    elif value is None:
        print("Parameter not set.")
    else:
        kind, _, several = TYPES[values[0].type].partition(" ")
        print(f"{kind.capitalize()} {'values are' if several else 'value is'}:", value)
    return None


def change(options: argparse.Namespace) -> int:
    """Set a parameter."""
    from rcl_interfaces.msg import Parameter
    from rclpy.parameter import get_parameter_value

    from . import graph

    value = get_parameter_value(string_value=options.value)
    parameter = Parameter(name=options.parameter_name, value=value)
    with graph.graph_node() as node:
        (result,) = Client(node, options.node_name).ask("set_parameters", [parameter]).results
    return _tell_set(result, "Set parameter successful", "Setting parameter failed")


def _tell_set(result: Any, successful: str, failed: str) -> int:
    reason = f": {result.reason}" if result.reason else ""
    if result.successful:
        print(f"{successful}{reason}")
        return 0
    print(f"{failed}{reason}", file=sys.stderr)
    return 1


def describe(options: argparse.Namespace) -> None:
    """Tell what a node says of its parameters."""
    from . import graph

    with graph.graph_node() as node:
        answer = Client(node, options.node_name).ask("describe_parameters", options.parameter_names)
    for descriptor in answer.descriptors:
        print("Parameter name:", descriptor.name)
        print("  Type:", TYPES[descriptor.type])
        if descriptor.description:
            print("  Description:", descriptor.description)
        print("  Constraints:")
        if descriptor.read_only:
            print("    Read only: true")
        for bounds in [*descriptor.floating_point_range, *descriptor.integer_range]:
            print("    Min value:", bounds.from_value)
            print("    Max value:", bounds.to_value)
            if bounds.step:
                print("    Step:", bounds.step)
        if descriptor.additional_constraints:
            print("    Additional constraints:", descriptor.additional_constraints)


def dump(options: argparse.Namespace) -> None:
    """Print a node's parameters as a file of parameters."""
    from rclpy.parameter import parameter_value_to_python

    from . import graph

    with graph.graph_node() as node:
        client = Client(node, options.node_name)
        names = client.names()
        values = client.ask("get_parameters", names).values
    tree: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        *groups, last = name.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        plain = parameter_value_to_python(value)
        place[last] = list(plain) if isinstance(plain, (array.array, tuple)) else plain
    print(yaml.safe_dump({client.name: {"ros__parameters": tree}}, default_flow_style=False))


def load(options: argparse.Namespace) -> int:
    """Set what a file of parameters says of a node.

    :raises RuntimeError: the file cannot be read.
    """
    from rclpy.parameter import parameter_dict_from_yaml_file

    from . import graph

    file, wildcard = options.parameter_file, not options.no_use_wildcard
    with graph.graph_node() as node:
        client = Client(node, options.node_name)
        try:
            parameters = parameter_dict_from_yaml_file(file, wildcard)
        except (OSError, yaml.YAMLError) as error:
            raise RuntimeError(f"{file} cannot be read: {error}") from error
        results = client.ask("set_parameters", list(parameters.values())).results
    return max(
        (
            _tell_set(result, f"Set parameter {name} successful", f"Set parameter {name} failed")
            for name, result in zip(parameters, results, strict=True)
        ),
        default=0,
    )
