-- So many requests in one piece, before any is answered: -- HOW_MANY
require "report"

local requests

init = function(arguments)
  requests = wrk.format():rep(tonumber(arguments[1]))
end

request = function()
  return requests
end
