"""The OpenADR 3.1.0 edge: what a grid operator and its gateways read, subscribe to and report."""
