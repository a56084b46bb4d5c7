#!/usr/bin/env bash
# Download a folder that aserve serves as a zip file. If the connection breaks, or this script is
# stopped and started again, it goes on where it was.
#
#   examples/download_a_folder.sh http://localhost:8000/photos/ photos.zip
set -euo pipefail
folder=$1
file=$2

# The ETag changes with any file in the folder: what was downloaded of another state is of no use.
etag=$(curl -fsSI "$folder?archive=zip" | sed -n 's/^etag: *\(.*\)\r$/\1/Ip')
if [ "$(cat "$file.etag" 2>/dev/null || true)" != "$etag" ]; then
    rm -f "$file.part"
    printf '%s' "$etag" >"$file.etag"
fi
until curl -fsS -C - -o "$file.part" "$folder?archive=zip"; do
    code=$?
    # 18: the body was cut off; 56: the connection was reset. Everything else will not get better.
    case $code in 18 | 56) sleep 1 ;; *) exit "$code" ;; esac
done
unzip -tq "$file.part"
mv "$file.part" "$file"
rm "$file.etag"
