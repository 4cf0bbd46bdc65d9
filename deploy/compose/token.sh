#!/bin/sh
# Prints an access token for the compose system: HS256 with its development secret, good for a day.
# Usage: deploy/compose/token.sh [tenant] [user]
set -eu
secret=$(cat "$(dirname "$0")/development/gateway_token_secret")
now=$(date +%s)
encode() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
header=$(printf '{"alg":"HS256","kid":"hs-1","typ":"JWT"}' | encode)
claims=$(printf '{"iss":"synapse","aud":"synapse-gateway","sub":"%s","tenant":"%s","role":"admin","iat":%d,"nbf":%d,"exp":%d,"jti":"%s"}' \
  "${2:-developer}" "${1:-development}" "$now" "$now" "$((now + 86400))" "$(openssl rand -hex 16)" | encode)
signature=$(printf '%s.%s' "$header" "$claims" | openssl dgst -sha256 -hmac "$secret" -binary | encode)
printf '%s.%s.%s\n' "$header" "$claims" "$signature"
