# How processes speak to each other: by sockets that no peer can block, with room for several images
# where the system allows it (docs/benchmarks.md, "Transports"). What the user has set holds.
if [ -z "${FASTDDS_BUILTIN_TRANSPORTS:-}${FASTRTPS_DEFAULT_PROFILES_FILE:-}${FASTDDS_DEFAULT_PROFILES_FILE:-}" ]; then
  export FASTDDS_BUILTIN_TRANSPORTS="UDPv4?sockets_size=4MB"
  export FASTRTPS_DEFAULT_PROFILES_FILE="$COLCON_CURRENT_PREFIX/share/planet_bringup/config/transport.xml"
fi
