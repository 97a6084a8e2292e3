#!/usr/bin/env python3
"""What every render of the chart must keep, whatever the values: chart_rules.py FILE...

The schema of Kubernetes says that objects are well formed; these rules say that they are ours. Each
broken rule is one line; exit 1 if there is one.
"""
import sys
import tomllib

import yaml


def pods_of(objects):
    """(name of the object, pod spec, pod labels) of all that run containers."""
    for item in objects:
        where = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "Pod":
            yield where, item["spec"], item["metadata"].get("labels", {})
        elif item["kind"] in ("StatefulSet", "Job"):
            template = item["spec"]["template"]
            yield where, template["spec"], template["metadata"].get("labels", {})


def restricted(where, spec):
    """The 'restricted' pod security standard, and a read-only root."""
    pod = spec.get("securityContext", {})
    if pod.get("runAsNonRoot") is not True or pod.get("runAsUser", 0) == 0:
        yield f"{where}: may run as root"
    if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{where}: no seccomp profile"
    if spec.get("hostNetwork") or spec.get("hostPID") or spec.get("hostIPC"):
        yield f"{where}: uses the host's namespaces"
    if spec.get("enableServiceLinks") is not False:
        yield f"{where}: service variables would be taken for configuration"
    for volume in spec.get("volumes", []):
        if "hostPath" in volume:
            yield f"{where}: hostPath"
    for container in spec["containers"] + spec.get("initContainers", []):
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{where}/{container['name']}: privileges"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{where}/{container['name']}: root file system can be written"
        if not container.get("resources", {}).get("limits", {}).get("memory"):
            yield f"{where}/{container['name']}: no limit of memory"
        if any(port.get("hostPort") for port in container.get("ports", [])):
            yield f"{where}/{container['name']}: hostPort"


def selects(selector, labels):
    return selector.items() <= labels.items()


def rules(objects):
    kinds = {}
    for item in objects:
        kinds.setdefault(item["kind"], []).append(item)
    seen = set()
    for item in objects:
        key = (item["kind"], item["metadata"]["name"])
        if key in seen:
            yield f"{'/'.join(key)}: twice"
        seen.add(key)
        if item["kind"] == "Secret":
            yield f"{'/'.join(key)}: a secret in the render changes with each render or ends in Git"
        if item["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{'/'.join(key)}: rights over the whole cluster"

    sets = kinds.get("StatefulSet", [])
    if len(sets) != 1:
        yield f"{len(sets)} StatefulSets"
        return
    core = sets[0]["spec"]
    name = sets[0]["metadata"]["name"]
    labels = core["template"]["metadata"]["labels"]
    main = core["template"]["spec"]["containers"][0]
    replicas = core["replicas"]

    for where, spec, pod_labels in pods_of(objects):
        yield from restricted(where, spec)
        if not where.startswith("StatefulSet/") and selects(core["selector"]["matchLabels"], pod_labels):
            yield f"{where}: would be taken for a core"
        if not where.startswith("Job/") and spec.get("automountServiceAccountToken") is not False:
            yield f"{where}: has a token for Kubernetes"

    # cores
    if core["podManagementPolicy"] != "Parallel":
        yield "pods must start together"
    if core["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] not in ("Retain", "Delete"):
        yield "retention of volumes is not stated"
    for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        if main[probe].get("httpGet", {}).get("path") != path:
            yield f"{probe} must ask {path}, and nothing that depends on others"
    if "drain" not in str(main["lifecycle"]["preStop"]):
        yield "preStop does not drain"
    if not selects(core["selector"]["matchLabels"], labels):
        yield "the StatefulSet does not select its own pods"
    environment = {entry["name"]: entry.get("value") for entry in main["env"]}
    if environment["HOMECORE__CLUSTER__ADVERTISE"] != f"$(POD_NAME).{core['serviceName']}.{sets[0]['metadata']['namespace']}.svc:4002":
        yield "cores tell another address than the one they are listed under"
    if environment["POD_FOUNDER"] not in ("", f"{name}-0"):
        yield "only the first pod may found"
    mounted = {mount["name"] for mount in main["volumeMounts"]}
    volumes = {volume["name"] for volume in core["template"]["spec"]["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in core["volumeClaimTemplates"]}
    if mounted - volumes:
        yield f"mounts without a volume: {sorted(mounted - volumes)}"

    # services reach ports that exist
    ports = {(port["name"], port["protocol"]) for port in main["ports"]}
    headless = [s for s in kinds["Service"] if s["metadata"]["name"] == core["serviceName"]]
    if not headless or headless[0]["spec"].get("clusterIP") != "None" or not headless[0]["spec"].get("publishNotReadyAddresses"):
        yield "cores must find each other before they are ready"
    for service in kinds["Service"]:
        spec = service["spec"]
        pod_name = {"statefulset.kubernetes.io/pod-name": spec["selector"].get("statefulset.kubernetes.io/pod-name")}
        if not selects(spec["selector"], labels | pod_name):
            yield f"Service/{service['metadata']['name']}: selects nothing"
        for port in spec["ports"]:
            if (port["targetPort"], port["protocol"]) not in ports:
                yield f"Service/{service['metadata']['name']}: no port {port['targetPort']}/{port['protocol']} in the pods"
            if port["targetPort"] == "rpc" and service is not headless[0]:
                yield f"Service/{service['metadata']['name']}: publishes the port between cores"
    for ingress in kinds.get("Ingress", []):
        for rule in ingress["spec"]["rules"]:
            target = rule["http"]["paths"][0]["backend"]["service"]["name"]
            if ("Service", target) not in seen:
                yield f"Ingress: {rule['host']} goes to {target}, which is not there"

    # budget: never more than the voters can spare
    voters = 5 if replicas >= 5 else 3 if replicas >= 3 else 1
    for budget in kinds.get("PodDisruptionBudget", []):
        if not 0 <= budget["spec"]["maxUnavailable"] <= (voters - 1) // 2:
            yield f"budget of {budget['spec']['maxUnavailable']} with {voters} voters"
        if not selects(budget["spec"]["selector"]["matchLabels"], labels):
            yield "the budget selects nothing"

    # who may talk to whom
    for policy in kinds.get("NetworkPolicy", []):
        if not selects(policy["spec"]["podSelector"]["matchLabels"], labels):
            yield "the network policy selects nothing"
        for rule in policy["spec"]["ingress"]:
            if any(port["port"] in ("rpc", 4002) for port in rule["ports"]):
                if rule.get("from") != [{"podSelector": {"matchLabels": core["selector"]["matchLabels"]}}]:
                    yield "others than cores may reach the port between cores"

    # configuration
    maps = {m["metadata"]["name"]: m["data"] for m in kinds["ConfigMap"]}
    config = tomllib.loads(maps[name]["homecore.toml"])
    if config["core"]["data"] != environment["HOMECORE__CORE__DATA"]:
        yield "two data directories"
    if any(key in config["cluster"] for key in ("found",)):
        yield "homecore.toml must not say who founds"
    if config["dns"]["active"] != (("dns-udp", "UDP") in ports):
        yield "DNS is configured but has no port, or the other way round"
    peers = [line.split() for line in maps[f"{name}-pods"]["peers"].splitlines()]
    if [peer[0] for peer in peers] != [f"{name}-{i}" for i in range(replicas)]:
        yield "the list of cores is not the pods"
    for host, rpc, http in peers:
        prefix = f"{host}.{core['serviceName']}."
        if not (rpc.startswith(prefix) and rpc.endswith(":4002") and http.startswith(prefix) and http.endswith(":3000")):
            yield f"{host} is listed under another address"

    # the job that makes the secret makes the one that is mounted
    secret = next(v for v in core["template"]["spec"]["volumes"] if v["name"] == "secrets")["secret"]
    for job in kinds.get("Job", []):
        made = {e["name"]: e.get("value") for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        if made["SECRET"] != secret["secretName"]:
            yield f"the job makes {made['SECRET']}, pods mount {secret['secretName']}"
        if {made["JOIN_KEY"], made["ADMIN_KEY"]} != {item["key"] for item in secret["items"]}:
            yield "the job makes other keys than pods mount"


def main():
    broken = 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf8") as file:
            objects = [item for item in yaml.safe_load_all(file) if item]
        for message in rules(objects):
            print(f"{path}: {message}", file=sys.stderr)
            broken += 1
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
