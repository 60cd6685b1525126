-- What wrk sends and what it takes for an answer, from the environment (so that no key is in the list of processes):
-- PEER_BODY, PEER_EXPECTED (text that the body of every good answer contains) and PEER_AUTHORIZATION (may be missing).
-- The last line of the output is JSON.
--
-- Only 200 with that text in its body is a run that was answered: a peer that refuses, or answers before the run has
-- ended, must not look fast.

local threads = {}
local sent, expected

function setup(thread)
  table.insert(threads, thread)
end

function init(_)
  answered, refused = 0, 0
  expected = os.getenv("PEER_EXPECTED")
  local headers = { ["Content-Type"] = "application/json", ["Authorization"] = os.getenv("PEER_AUTHORIZATION") }
  sent = wrk.format("POST", nil, headers, os.getenv("PEER_BODY"))
end

function request()
  return sent
end

function response(status, _, body)
  if status == 200 and body:find(expected, 1, true) then
    answered = answered + 1
  else
    refused = refused + 1
  end
end

function done(summary, latency, _)
  local errors = summary.errors
  local good, failed = 0, errors.connect + errors.read + errors.write + errors.timeout
  for _, thread in ipairs(threads) do
    good = good + thread:get("answered")
    failed = failed + thread:get("refused")
  end
  io.write(string.format('{"micros":%d,"answered":%d,"failed":%d,"p50_micros":%d,"p99_micros":%d}\n',
    summary.duration, good, failed, latency:percentile(50), latency:percentile(99)))
end
