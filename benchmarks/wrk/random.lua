-- A file at random: -- FOLDER HOW_MANY
require "report"

local before, after, most

init = function(arguments)
  before, after = wrk.format("GET", "/" .. arguments[1] .. "/?.txt"):match("(.*)%?(.*)")
  most = tonumber(arguments[2]) - 1
  math.randomseed(os.time())
end

request = function()
  return before .. math.random(0, most) .. after
end
