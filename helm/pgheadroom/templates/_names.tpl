{{/* Names, labels and the image. */}}

{{- define "pgheadroom.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "pgheadroom.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "pgheadroom.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "pgheadroom.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "pgheadroom.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pgheadroom.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What selects our pods; it never changes, because selectors cannot. Names are quoted everywhere: 42 is one too. */}}
{{- define "pgheadroom.selector" -}}
app.kubernetes.io/name: {{ include "pgheadroom.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The pod of `helm test`, which must not become an endpoint of the Service. */}}
{{- define "pgheadroom.testLabels" -}}
app.kubernetes.io/name: {{ include "pgheadroom.name" . | trunc 58 | trimSuffix "-" }}-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* metadata: of an object. Takes root, and optionally name, namespace, labels, annotations. */}}
{{- define "pgheadroom.metadata" -}}
{{- $root := .root -}}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_")
  "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $own := include "pgheadroom.selector" $root | fromYaml -}}
{{- $labels = mustMergeOverwrite $labels (deepCopy $root.Values.commonLabels) (deepCopy (default dict .labels)) $own -}}
{{- $annotations := mustMergeOverwrite (deepCopy $root.Values.commonAnnotations) (deepCopy (default dict .annotations)) -}}
name: {{ default (include "pgheadroom.fullname" $root) .name | quote }}
namespace: {{ default (include "pgheadroom.namespace" $root) .namespace | quote }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "pgheadroom.image" -}}
{{- $image := .Values.image -}}
{{- $registry := default $image.registry .Values.global.imageRegistry -}}
{{- $name := ternary $image.repository (printf "%s/%s" $registry $image.repository) (empty $registry) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* imagePullSecrets: of a pod, each once. */}}
{{- define "pgheadroom.pullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list .Values.global.imagePullSecrets) .Values.image.pullSecrets -}}
{{- $names = append $names (kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") .) -}}
{{- end -}}
{{- with uniq $names }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end -}}
{{- end -}}
