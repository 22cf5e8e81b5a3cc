#!/bin/bash
# The health check of the worker's image: asks /readyz of the process that the container runs.
# If /readyz needs a token, HTTP_TOKEN in the environment has it.
# If HTTP_LISTEN leaves the port to the system (port 0), this finds the port among that process's sockets.
set -eu

port=${HTTP_LISTEN:-127.0.0.1:8080}
port=${port##*:}

if [[ $port == 0 ]]; then
    port=''
    sockets=" $(readlink /proc/1/fd/* 2>/dev/null | sed -n 's/^socket:\[\(.*\)\]$/\1/p' | tr '\n' ' ')"
    while read -r _ local _ state _ _ _ _ _ inode _; do
        if [[ $state == 0A && $sockets == *" $inode "* ]]; then port=$((16#${local##*:})); fi
    done </proc/net/tcp
    [[ -n $port ]] || { echo 'the worker listens on no port yet'; exit 1; }
fi

exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /readyz HTTP/1.0\r\nHost: localhost\r\n%s\r\n' "${HTTP_TOKEN:+Authorization: Bearer $HTTP_TOKEN$'\r\n'}" >&3
read -r _ status _ <&3
echo "/readyz on port $port: $status"
[[ $status == 200 ]]
