{{- define "triaged.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "triaged.selector" -}}
app.kubernetes.io/name: triaged
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "triaged.labels" -}}
{{ include "triaged.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "triaged.claim" -}}
{{- .Values.persistence.existingClaim | default (printf "%s-ledger" (include "triaged.name" .)) -}}
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
      - {name: {{ $name }}, value: {{ $value | quote }}}
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
volumes:
  - name: rules
    configMap: {name: {{ include "triaged.name" $ }}-rules}
  - name: api-key
    secret: {secretName: {{ $.Values.apiKey.existingSecret }}, defaultMode: 288, optional: false} # 0440
  - name: ledger
    persistentVolumeClaim: {claimName: {{ include "triaged.claim" $ }}}
  - name: tmp
    emptyDir: {sizeLimit: 16Mi}
{{- end }}

{{/* Alive is that the loop beats; LeadLex's health is nothing to restart for. */}}
{{- define "triaged.serving" -}}
ports:
  - {name: http, containerPort: 9464, protocol: TCP}
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
