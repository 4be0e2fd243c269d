"""What scenarios and the demo share: real nodes, real SIP calls, and the comparison of audio."""
