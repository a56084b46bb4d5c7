-- Says what wrk has counted, as one line of JSON behind its own report.
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %.0f, "seconds": %.6f, "received": %.0f, "p99_ms": %.3f, '
      .. '"max_ms": %.3f, "errors": {"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(99) / 1e3,
    latency.max / 1e3, errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
