# Makes the release's secret once; one that exists is never touched. Runs in the kubectl image with the
# static shell of homecore's image ($busybox), because kubectl images need not have one.
set -eu
# An assignment of its own: inside a test a failing kubectl would read as "there is none".
found=$(kubectl --namespace "$NAMESPACE" get secret "$SECRET" --ignore-not-found --output name)
if [ -n "$found" ]; then
    echo "secret $SECRET exists, kept"
    exit 0
fi
random() { "$busybox" head -c 32 /dev/urandom | "$busybox" base64 | "$busybox" tr -d '=\n' | "$busybox" tr '+/' '-_'; }
random >/job/join
random >/job/admin
# Never with an empty value, whatever went wrong above.
[ "$("$busybox" wc -c </job/join)" -eq 43 ] && [ "$("$busybox" wc -c </job/admin)" -eq 43 ]
kubectl --namespace "$NAMESPACE" create secret generic "$SECRET" \
    --from-file="$JOIN_KEY=/job/join" --from-file="$ADMIN_KEY=/job/admin"
