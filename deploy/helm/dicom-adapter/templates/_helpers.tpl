{{- define "dicom-adapter.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "dicom-adapter.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dicom-adapter.labels" -}}
{{ include "dicom-adapter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "dicom-adapter.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "dicom-adapter.name" .) "default" .Values.serviceAccount.create) }}
{{- end -}}

{{- define "dicom-adapter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* The adapter's configuration: the operator's, with what the pod decides laid over it. */ -}}
{{- define "dicom-adapter.configuration" -}}
{{- $ours := dict
  "dicom" (dict "scp" (dict "port" (int .Values.dicom.port)))
  "storage" (dict "root" "/var/lib/dicom-adapter")
  "api" (dict "host" "0.0.0.0" "port" (int .Values.api.port) "auth" .Values.api.auth)
  "logging" (dict "format" "json")
  "shutdown" .Values.shutdown -}}
{{- if .Values.customResources.enabled -}}
{{- $_ := set $ours "kubernetes" (dict "watch_custom_resources" true "namespace" .Release.Namespace) -}}
{{- end -}}
{{- mustMergeOverwrite (deepCopy .Values.config) $ours | toYaml -}}
{{- end -}}
