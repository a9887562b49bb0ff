{{- define "triaged.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "triaged.selector" -}}
app.kubernetes.io/name: triaged
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "triaged.podLabels" -}}
{{ include "triaged.selector" . }}
app.kubernetes.io/part-of: triaged
{{- end }}

{{- define "triaged.labels" -}}
{{ include "triaged.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "triaged.claim" -}}
{{- .Values.persistence.existingClaim | default (printf "%s-ledger" (include "triaged.name" .)) -}}
{{- end }}

{{/* The ledger's URL, or nothing: then it is a file on the volume. */}}
{{- define "triaged.ledgerUrl" -}}
{{- $settings := .Values.settings -}}
{{- if and .Values.ledgerUrl (hasKey $settings "TRIAGED_LEDGER_URL") -}}
{{- fail "give ledgerUrl or settings.TRIAGED_LEDGER_URL, not both" -}}
{{- end -}}
{{- $url := .Values.ledgerUrl | default (get $settings "TRIAGED_LEDGER_URL") -}}
{{- if regexMatch "^[a-z]+://([^/?#]*:[^/?#]*@|.*[?&]password=)" $url -}}
{{- fail "the ledger's URL has a password: put it into the Secret that ledgerSecret names" -}}
{{- end -}}
{{- $url -}}
{{- end }}

{{/* Whether the daemon runs a fleet. */}}
{{- define "triaged.fleet" -}}
{{- if .Values.fleet.files }}yes{{ end -}}
{{- end }}

{{/* Refuses values that do not go together; the schema sees only one at a time. */}}
{{- define "triaged.check" -}}
{{- if and (not (include "triaged.ledgerUrl" .)) (or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled) -}}
{{- fail "replicas above 1, and autoscaling, need ledgerUrl: a ledger in a file is for one daemon" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.replicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.maxReplicas must not be below replicas" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (lt (int .Values.replicas) 1) -}}
{{- fail "autoscaling needs replicas of 1 or more: with no daemon nothing is late" -}}
{{- end -}}
{{- if and .Values.ledgerSecret (not (include "triaged.ledgerUrl" .)) -}}
{{- fail "ledgerSecret needs ledgerUrl" -}}
{{- end -}}
{{- if and (include "triaged.fleet" .) (ne .Values.flavour "deployment") -}}
{{- fail "a fleet needs flavour: deployment" -}}
{{- end -}}
{{- if and .Values.fleet.keysSecret (not .Values.fleet.files) -}}
{{- fail "fleet.keysSecret needs fleet.files" -}}
{{- end -}}
{{- $found := false -}}
{{- range $name, $_ := .Values.fleet.files }}
{{- if regexMatch "^(fleet|.+\\.fleet)\\.yaml$" $name }}{{ $found = true }}{{ end }}
{{- end }}
{{- if and .Values.fleet.files (not $found) -}}
{{- fail "fleet.files needs fleet.yaml, or files that end in .fleet.yaml" -}}
{{- end -}}
{{- end }}

{{/* The settings as they are given to the daemon, as JSON. */}}
{{- define "triaged.settings" -}}
{{- $found := deepCopy .Values.settings -}}
{{- with include "triaged.ledgerUrl" . }}{{ $_ := set $found "TRIAGED_LEDGER_URL" . }}{{ end }}
{{- if .Values.ledgerSecret }}
{{- $_ := set $found "PGPASSFILE" "/run/secrets/triaged-ledger/pgpass" }}
{{- end }}
{{- if include "triaged.fleet" . }}
{{- $_ := set $found "TRIAGED_FLEET" "/etc/triaged/fleet" }}
{{- $_ := unset $found "TRIAGED_WORKSPACE" }}
{{- end }}
{{- toJson $found -}}
{{- end }}

{{/* The values of the environment that the chart knows, as JSON. */}}
{{- define "triaged.environment" -}}
{{- $found := include "triaged.settings" . | fromJson -}}
{{- range .Values.extraEnv }}
{{- if hasKey . "value" }}{{ $_ := set $found .name .value }}{{ end }}
{{- end }}
{{- toJson $found -}}
{{- end }}

{{/* The port that the daemon listens on. */}}
{{- define "triaged.port" -}}
{{- $environment := include "triaged.environment" . | fromJson -}}
{{- regexFind "[0-9]+$" (get $environment "TRIAGED_LISTEN" | default "[::]:9464") -}}
{{- end }}

{{/* The port of a URL: the one it names, or its scheme's. */}}
{{- define "triaged.urlPort" -}}
{{- $schemes := dict "http" "80" "socks5" "1080" "socks5h" "1080" "postgresql" "5432" "postgres" "5432" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (get $schemes $url.scheme) | default "443" -}}
{{- end }}

{{/* The ports of those of these settings that are URLs, as a JSON list of numbers. */}}
{{- define "triaged.ports" -}}
{{- $environment := include "triaged.environment" .context | fromJson -}}
{{- $found := list -}}
{{- range .names }}
{{- with get $environment . }}{{ $found = append $found (include "triaged.urlPort" . | int) }}{{ end }}
{{- end }}
{{- $found | uniq | toJson -}}
{{- end }}

{{/* Whether Prometheus gets metrics: from the daemon, or from node_exporter. */}}
{{- define "triaged.monitored" -}}
{{- if and .Values.monitoring.enabled (or (eq .Values.flavour "deployment") .Values.cronjob.metricsHostPath) }}yes{{ end -}}
{{- end }}

{{/* The pod's spec; a dict of the context and the arguments of the program. */}}
{{- define "triaged.pod" -}}
{{- $ := .context -}}
{{- include "triaged.check" $ -}}
{{- $image := printf "%s:%s" $.Values.image.repository ($.Values.image.tag | default $.Chart.AppVersion) -}}
serviceAccountName: {{ include "triaged.name" $ }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 90 # above the 70 s that draining may take
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with $.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with $.Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with $.Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with $.Values.affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- if $.Values.topologySpreadConstraints }}
topologySpreadConstraints: {{ toJson $.Values.topologySpreadConstraints }}
{{- else if include "triaged.ledgerUrl" $ }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "triaged.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- if $.Values.ledgerSecret }}
initContainers:
  # libpq refuses a password file or a key that its group may read, and a Secret's volume
  # has no other that user 65532 could.
  - name: ledger-secret
    image: {{ $image | quote }}
    imagePullPolicy: {{ $.Values.image.pullPolicy }}
    command:
      - python3
      - -c
      - |
        import os, shutil
        os.umask(0o077)
        for name in os.listdir("/given"):
            if not name.startswith(".."):
                shutil.copyfile("/given/" + name, "/run/secrets/triaged-ledger/" + name)
    resources: {{ toJson $.Values.resources }}
    securityContext:
      {{- include "triaged.rights" . | nindent 6 }}
    volumeMounts:
      - {name: ledger-secret, mountPath: /given, readOnly: true}
      - {name: ledger-secret-copy, mountPath: /run/secrets/triaged-ledger}
{{- end }}
containers:
  - name: triaged
    image: {{ $image | quote }}
    imagePullPolicy: {{ $.Values.image.pullPolicy }}
    args: {{ toJson .args }}
    env:
      {{- range $name, $value := include "triaged.settings" $ | fromJson }}
      - {name: {{ $name }}, value: {{ $value | quote }}}
      {{- end }}
      {{- range $.Values.extraEnv }}
      - {{ toJson . }}
      {{- end }}
    {{- with $.Values.extraEnvFrom }}
    envFrom: {{ toJson . }}
    {{- end }}
    {{- with .serving }}
    {{- . | nindent 4 }}
    {{- end }}
    resources: {{ toJson $.Values.resources }}
    securityContext:
      {{- include "triaged.rights" . | nindent 6 }}
    volumeMounts:
      # Whole directories: what is mounted by subPath never changes.
      {{- if include "triaged.fleet" $ }}
      - {name: rules, mountPath: /etc/triaged/fleet, readOnly: true}
      {{- else }}
      - {name: rules, mountPath: /etc/triaged, readOnly: true}
      {{- end }}
      - {name: api-key, mountPath: /run/secrets/triaged, readOnly: true}
      - {name: ledger, mountPath: /var/lib/triaged}
      - {name: tmp, mountPath: /tmp}
      {{- if $.Values.ledgerSecret }}
      - {name: ledger-secret-copy, mountPath: /run/secrets/triaged-ledger, readOnly: true}
      {{- end }}
      {{- if .hostPath }}
      - {name: metrics, mountPath: /var/lib/triaged-metrics}
      {{- end }}
volumes:
  - name: rules
    configMap: {name: {{ include "triaged.name" $ }}-{{ ternary "fleet" "rules" (include "triaged.fleet" $ | not | not) }}}
  - name: api-key
    secret: {secretName: {{ $.Values.fleet.keysSecret | default $.Values.apiKey.existingSecret }}, defaultMode: 288, optional: false} # 0440
  {{- if include "triaged.ledgerUrl" $ }}
  - name: ledger # in PostgreSQL; nothing here has to last
    emptyDir: {sizeLimit: 64Mi}
  {{- else }}
  - name: ledger
    persistentVolumeClaim: {claimName: {{ include "triaged.claim" $ }}}
  {{- end }}
  {{- with $.Values.ledgerSecret }}
  - name: ledger-secret
    secret: {secretName: {{ . }}, defaultMode: 288, optional: false} # 0440
  - name: ledger-secret-copy
    emptyDir: {medium: Memory, sizeLimit: 1Mi}
  {{- end }}
  - name: tmp
    emptyDir: {sizeLimit: 16Mi}
  {{- with .hostPath }}
  - name: metrics
    hostPath: {path: {{ . }}, type: Directory}
  {{- end }}
{{- end }}

{{/* What a container may do. */}}
{{- define "triaged.rights" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end }}

{{/* Alive means that the main loop is; LeadLex's health is no reason to restart. */}}
{{- define "triaged.serving" -}}
ports:
  - {name: http, containerPort: {{ include "triaged.port" . }}, protocol: TCP}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 15
  timeoutSeconds: 5
{{- end }}
