"""Floor 0: what every numerical file of the package stands on."""
