-- The head that -H makes, with a cookie that no request has had before.
require "report"

local head
local n = 0

init = function()
  head = wrk.format():sub(1, -3) .. "Cookie: session="
end

request = function()
  n = n + 1
  return head .. n .. "\r\n\r\n"
end
