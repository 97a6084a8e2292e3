{{- define "homecore.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- end -}}
{{- /* A core's id is this and the ordinal: one DNS label of at most 40 characters. */ -}}
{{- $full | replace "." "-" | trunc 36 | trimSuffix "-" -}}
{{- end -}}

{{- define "homecore.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "homecore.coreLabels" -}}
{{ include "homecore.selectorLabels" . }}
app.kubernetes.io/component: core
{{- end -}}

{{- define "homecore.labels" -}}
{{ include "homecore.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "homecore.image" -}}
{{- $image := .Values.image -}}
{{- with .Values.registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- define "homecore.secretName" -}}
{{- default (printf "%s-secrets" (include "homecore.fullname" .)) .Values.secrets.existingSecret -}}
{{- end -}}

{{- /* Host name of a pod inside the cluster: (list $ ordinal). */ -}}
{{- define "homecore.host" -}}
{{- $root := index . 0 -}}
{{- $full := include "homecore.fullname" $root -}}
{{- printf "%s-%d.%s-peers.%s.svc" $full (int (index . 1)) $full $root.Release.Namespace -}}
{{- end -}}

{{- /* Id of the core in a pod: (list $ ordinal). */ -}}
{{- define "homecore.coreId" -}}
{{- $root := index . 0 -}}
{{- $own := get $root.Values.cores (toString (index . 1)) | default dict -}}
{{- default (printf "%s-%d" (include "homecore.fullname" $root) (int (index . 1))) $own.id -}}
{{- end -}}

{{- /* How many cores may fail while the voters keep a quorum. The cluster has 1, 3 or 5 voters. */ -}}
{{- define "homecore.spare" -}}
{{- if ge (int .Values.replicas) 5 }}2{{ else if ge (int .Values.replicas) 3 }}1{{ else }}0{{ end -}}
{{- end -}}

{{- define "homecore.coreServices" -}}
{{- if or .Values.coreServices.enabled .Values.ingress.enabled }}true{{ end -}}
{{- end -}}

{{- define "homecore.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
# Not at every start over a million files.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "homecore.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* A value as TOML on one line. Not toToml: numbers of a values file are floats, and 60.0 is no port. */ -}}
{{- define "homecore.toml" -}}
{{- if kindIs "string" . }}{{ toJson . }}
{{- else if kindIs "bool" . }}{{ . }}
{{- else if or (kindIs "int" .) (kindIs "int64" .) }}{{ . }}
{{- else if kindIs "float64" . }}{{ if eq . (floor .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else if kindIs "slice" . }}[{{ range $i, $item := . }}{{ if $i }}, {{ end }}{{ include "homecore.toml" $item }}{{ end }}]
{{- else if kindIs "map" . -}}
{{- $table := . -}}
{ {{- range $i, $key := keys . | sortAlpha }}{{ if $i }},{{ end }} {{ toJson $key }} = {{ include "homecore.toml" (get $table $key) }}{{ end }} }
{{- else }}{{ fail (printf "config: a value of kind %s has no place in homecore.toml" (kindOf .)) }}
{{- end -}}
{{- end -}}

{{- /* homecore.toml: what the chart decides, with .Values.config over it. */ -}}
{{- define "homecore.config" -}}
{{- $listen := .Values.listenAddress -}}
{{- $cluster := dict "listen" (printf "%s:4002" $listen) "join_secret_file" "/run/homecore/secrets/join" -}}
{{- with .Values.cluster.engine }}{{ $_ := set $cluster "engine" . }}{{ end -}}
{{- $dns := dict "active" .Values.dns.active "listen" (list (printf "%s:5353" $listen)) -}}
{{- with .Values.domain }}{{ $_ := set $dns "domain" . }}{{ end -}}
{{- $own := dict
    "core" (dict "data" "/var/lib/homecore/data")
    "http" (dict "listen" (list (printf "%s:3000" $listen)) "trust_forwarded" .Values.ingress.enabled)
    "cluster" $cluster
    "dns" $dns
    "auth" (dict "admin_access_key_file" "/run/homecore/secrets/admin")
    "log" (dict "format" "json") -}}
{{- $all := mergeOverwrite $own (deepCopy .Values.config) -}}
{{- range $section := keys $all | sortAlpha }}
[{{ $section }}]
{{- $table := get $all $section }}
{{- range $key := keys $table | sortAlpha }}
{{ $key }} = {{ include "homecore.toml" (get $table $key) }}
{{- end }}
{{ end -}}
{{- end -}}

{{- /* What the schema cannot say. Called once, by the StatefulSet; all problems at once. */ -}}
{{- define "homecore.validate" -}}
{{- $wrong := list -}}
{{- $values := .Values -}}
{{- if and .Values.dns.active (not .Values.domain) -}}
{{- $wrong = append $wrong "dns.active needs domain: there is no zone to answer for" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.domain) -}}
{{- $wrong = append $wrong "ingress.enabled needs domain: the host names are {id}.domain" -}}
{{- end -}}
{{- if not (or .Values.secrets.existingSecret .Values.secrets.generate.enabled) -}}
{{- $wrong = append $wrong "secrets.existingSecret is empty and secrets.generate.enabled is off: cores could not join" -}}
{{- end -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (int .Values.drainSeconds) -}}
{{- $wrong = append $wrong "terminationGracePeriodSeconds must be greater than drainSeconds: nothing would be left for the clean stop" -}}
{{- end -}}
{{- $startup := mul (int .Values.probes.startup.periodSeconds) (int .Values.probes.startup.failureThreshold) -}}
{{- if le $startup (int64 .Values.cluster.joinTimeoutSeconds) -}}
{{- $wrong = append $wrong (printf "probes.startup gives up after %d s, before cluster.joinTimeoutSeconds: a pod that waits for the others would be killed" $startup) -}}
{{- end -}}
{{- $max := .Values.podDisruptionBudget.maxUnavailable -}}
{{- if and (ne (toString $max) "auto") (gt (int $max) (int (include "homecore.spare" .))) -}}
{{- $wrong = append $wrong (printf "podDisruptionBudget.maxUnavailable is %v, but of %d cores only %s can be spared without losing the quorum" $max (int .Values.replicas) (include "homecore.spare" .)) -}}
{{- end -}}
{{- $owned := dict
    "core" (dict "id" "cores.N.id" "data" "" "url" "core.url" "ipv4" "cores.N.ipv4" "ipv6" "cores.N.ipv6" "cname" "cores.N.cname" "hosting" "cores.N.hosting")
    "http" (dict "listen" "listenAddress")
    "cluster" (dict "found" "cluster.founding" "listen" "listenAddress" "advertise" "" "join_secret_file" "secrets" "engine" "cluster.engine")
    "dns" (dict "active" "dns.active" "domain" "domain" "listen" "listenAddress")
    "auth" (dict "admin_access_key" "secrets" "admin_access_key_file" "secrets")
    "mail" (dict "smtp_password" "secrets.smtp" "smtp_password_file" "secrets.smtp")
    "previews" (dict "listen" "") -}}
{{- range $section, $keys := $owned -}}
{{- range $key, $instead := $keys -}}
{{- if hasKey (get $values.config $section | default dict) $key -}}
{{- $wrong = append $wrong (printf "config.%s.%s is set by the chart%s" $section $key (ternary (printf "; use %s" $instead) "" (ne $instead ""))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $mail := get $values.config "mail" | default dict -}}
{{- if and $mail.smtp_user (not $values.secrets.smtp.existingSecret) -}}
{{- $wrong = append $wrong "config.mail.smtp_user needs secrets.smtp.existingSecret: there is no password" -}}
{{- end -}}
{{- if and $values.secrets.smtp.existingSecret (not $mail.smtp_user) -}}
{{- $wrong = append $wrong "secrets.smtp.existingSecret needs config.mail.smtp_user: whose password is it?" -}}
{{- end -}}
{{- $ids := dict -}}
{{- range $ordinal := until (int .Values.replicas) -}}
{{- $id := include "homecore.coreId" (list $ $ordinal) -}}
{{- if hasKey $ids $id -}}
{{- $wrong = append $wrong (printf "cores: %s is the id of two cores" $id) -}}
{{- end -}}
{{- $_ := set $ids $id true -}}
{{- end -}}
{{- range $ordinal, $own := .Values.cores -}}
{{- if ge (int $ordinal) (int $values.replicas) -}}
{{- $wrong = append $wrong (printf "cores: there is no core %s with %d replicas" $ordinal (int $values.replicas)) -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n  - %s" (join "\n  - " $wrong)) -}}
{{- end -}}
{{- end -}}
