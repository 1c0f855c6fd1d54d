"""What was measured on the rig: the driver's answer to faults, and learning by pixels."""
