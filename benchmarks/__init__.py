"""Speed, memory and quality, recorded as JSON with the device."""
