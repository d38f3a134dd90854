"""What every part of the service runs on: clocks, cancellation, batching, the embedded store."""
