#!/bin/sh
# `helm test`: does the zone answer over the DNS service? Arguments: DOMAIN SERVER [NAME...]; the names
# must have an address. busybox nslookup asks over UDP; one question is put over TCP by hand (RFC 1035 §4.2.2).
set -u
[ $# -ge 2 ] || {
    echo "usage: test-dns.sh DOMAIN SERVER [NAME...]" >&2
    exit 2
}
domain=$1
server=$2
shift 2
failed=0
for kind in soa ns; do
    if busybox timeout 20 busybox nslookup -type="$kind" "$domain" "$server" | busybox grep -qiE 'origin|nameserver ='; then
        echo "ok   $kind of $domain"
    else
        echo "FAIL $kind of $domain is not answered by $server"
        failed=1
    fi
done
for name in "$@"; do
    if busybox timeout 20 busybox nslookup -type=a "$name.$domain" "$server" | busybox tail -n +3 | busybox grep -qiE '^(Address|.*canonical name)'; then
        echo "ok   $name.$domain"
    else
        echo "FAIL $name.$domain has no address"
        failed=1
    fi
done
# Length, header (id 1, one question), labels, type SOA, class IN.
octet() { printf '\\%03o' "$1"; }
question="\\000$(octet $((${#domain} + 18)))\\000\\001\\000\\000\\000\\001\\000\\000\\000\\000\\000\\000"
rest=$domain.
while [ -n "$rest" ]; do
    label=${rest%%.*}
    rest=${rest#*.}
    question="$question$(octet ${#label})$label"
done
question="$question\\000\\000\\006\\000\\001"
# Held open until the answer is there; id 1, an answer without an error, one question.
# shellcheck disable=SC2059  # the octets are in the format
reply=$({ printf "$question" && sleep 2; } | busybox timeout 10 busybox nc -w 5 "$server" 53 2>/dev/null | busybox od -An -v -tx1 -N8)
case $reply in
' '??' '??' 00 01 8'?' '?'0 00 01') echo "ok   soa of $domain over TCP" ;;
*)
    echo "FAIL soa of $domain over TCP: ${reply:-no answer}"
    failed=1
    ;;
esac
exit "$failed"
