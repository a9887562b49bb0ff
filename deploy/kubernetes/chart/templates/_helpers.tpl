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

{{/* The values of the environment that the chart knows, as JSON. */}}
{{- define "triaged.environment" -}}
{{- $found := deepCopy .Values.settings -}}
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
containers:
  - name: triaged
    image: "{{ $.Values.image.repository }}:{{ $.Values.image.tag | default $.Chart.AppVersion }}"
    imagePullPolicy: {{ $.Values.image.pullPolicy }}
    args: {{ toJson .args }}
    env:
      {{- range $name, $value := $.Values.settings }}
      {{- if not (and $.Values.fleet (eq $name "TRIAGED_WORKSPACE")) }}
      - {name: {{ $name }}, value: {{ $value | quote }}}
      {{- end }}
      {{- end }}
      {{- if $.Values.fleet }}
      - {name: TRIAGED_FLEET, value: /etc/triaged}
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
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
      readOnlyRootFilesystem: true
    volumeMounts:
      # Whole directories: what is mounted by subPath never changes.
      - {name: rules, mountPath: /etc/triaged, readOnly: true}
      - {name: api-key, mountPath: /run/secrets/triaged, readOnly: true}
      - {name: ledger, mountPath: /var/lib/triaged}
      - {name: tmp, mountPath: /tmp}
      {{- if .hostPath }}
      - {name: metrics, mountPath: /var/lib/triaged-metrics}
      {{- end }}
volumes:
  - name: rules
    configMap: {name: {{ include "triaged.name" $ }}-rules}
  - name: api-key
    secret: {secretName: {{ $.Values.apiKey.existingSecret }}, defaultMode: 288, optional: false} # 0440
  - name: ledger
    persistentVolumeClaim: {claimName: {{ include "triaged.claim" $ }}}
  - name: tmp
    emptyDir: {sizeLimit: 16Mi}
  {{- with .hostPath }}
  - name: metrics
    hostPath: {path: {{ . }}, type: Directory}
  {{- end }}
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
